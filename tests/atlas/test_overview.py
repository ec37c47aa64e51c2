import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from biosae.atlas.overview import firing_histogram, label_overview, overview, training_curves

from .synthetic import CLASSES, D_SAE


def test_is_json(run):
    json.dumps(overview(run, []), allow_nan=False)


def test_every_living_feature_is_in_the_density_histogram_once(run):
    histogram = firing_histogram(run)
    assert histogram["dead"] == 1
    assert sum(histogram["counts"]) == D_SAE - 1


def test_supported_features_stand_beside_what_chance_gives(run):
    summary = label_overview(run, "cell_type")
    assert summary["n_supported"] == len(CLASSES)
    assert summary["n_tested"] == D_SAE - 1  # the dead feature has no score
    assert summary["classes_by_chance"] == pytest.approx(0.05 * len(CLASSES))


def test_a_label_without_tests_says_why(run):
    assert label_overview(run, "cell_type")["untested"] is None
    summary = {"labels": {"cell_type": {"classes": [], "untested": "each batch has one cell_type only"}}}
    told = label_overview(replace(run, analysis={"summary": summary}), "cell_type")
    assert told["untested"] == "each batch has one cell_type only"


def test_best_feature_of_a_class_is_chosen_on_the_select_samples(run):
    scores = run.scores.copy()
    # feature 20 is better than feature 0 on test samples, worse on select samples
    for metric, value in {"class": "B cells", "auroc_select": 0.8, "auroc": 1.0}.items():
        scores.loc[20, ("label:cell_type", metric)] = value
    scores.loc[0, ("label:cell_type", "auroc")] = 0.9
    best = {row["class"]: row for row in label_overview(replace(run, scores=scores), "cell_type")["best"]}
    assert best["B cells"]["feature"] == 0
    assert best["B cells"]["auroc"] == 0.9


def test_best_feature_of_a_class_may_mark_another_class_better(run):
    row = {"class": "NK cells", "feature": 3, "auroc_select": 0.9, "auroc": 0.8, "auroc_low": 0.7, "auroc_high": 0.9}
    row |= {"null_auroc": 0.6, "q_value": 0.01}
    told = replace(run, analysis={"summary": {"labels": {"cell_type": {"classes": [row]}}}})
    assert label_overview(told, "cell_type")["best"] == [row]


def test_curves_leave_out_rows_without_a_value():
    metrics = pd.DataFrame({"tokens": [0, 0, 9], "split": ["train", "validate", "validate"], "fvu": [np.nan, 1.0, 0.5]})
    assert training_curves(metrics) == [
        {"name": "fvu", "split": "validate", "tokens": [0.0, 9.0], "values": [1.0, 0.5]}
    ]


def test_sites_come_with_their_null_and_the_best_amino_acid(run):
    scores = {"f1": 0.6, "precision": 0.5, "recall": 0.75, "null_f1": 0.3, "p_value": 0.01, "residue_f1": 0.2}
    concept = {"concept": "Domain", "feature": 4, "residue": "W"} | scores
    summary = run.analysis.get("summary", {}) | {"residues": {"concepts": [concept | {"threshold": 0.5}]}}
    found = overview(replace(run, analysis=run.analysis | {"summary": summary}), [])["sites"]
    assert found == [concept]
    assert overview(run, [])["sites"] == []
