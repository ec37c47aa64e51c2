import json

import numpy as np
import pandas as pd
import pytest

from biosae.analysis.scores import analyze
from biosae.errors import ArtefactError, DataError

from .conftest import CLASSES, D_SAE, MARKER, SILENT, write_table, write_token_codes

SETTINGS = {
    "label_keys": ["cell_type"],
    "group_key": "donor",
    "run_label_scoring": True,
    "run_gene_scoring": True,
    "run_expression_scoring": True,
    "run_density_scoring": True,
    "seed": 0,
    "n_permutations": 200,
}


def score(run, **settings):
    return analyze(run / "features.h5ad", run / "token_codes", run, **SETTINGS | settings)


def test_planted_features_are_found_and_nothing_else(run):
    scores = score(run)
    label = scores["label:cell_type"]
    for name, feature in MARKER.items():
        assert label.loc[feature, "class"] == name
        assert label.loc[feature, "q_value"] < 0.05 and label.loc[feature, "p_value"] < 0.05
    assert set(np.flatnonzero(label["p_value"] < 0.05)) == set(MARKER.values())


def test_scores_csv_reads_back_as_documented(run):
    scores = score(run)
    read = pd.read_csv(run / "scores.csv", header=[0, 1], index_col=0)
    assert list(read.columns) == list(scores.columns)
    assert read.index.name == "feature" and list(read.index) == list(range(D_SAE))
    assert set(read.columns.get_level_values(0)) == {"density", "genes", "expression", "label:cell_type"}
    assert (
        read.loc[SILENT]
        .drop(("density", "kind"))
        .drop(("density", "frequency_token"))
        .drop(("density", "frequency_sample"))
        .isna()
        .all()
    )
    np.testing.assert_allclose(read["label:cell_type"]["auroc"], scores["label:cell_type"]["auroc"], rtol=1e-8)
    tables = {name: pd.read_csv(run / "tables" / f"{name}.csv") for name in ("labels", "genes")}
    assert len(tables["labels"]) == D_SAE * len(CLASSES)
    assert list(tables["labels"].columns) == [
        *("feature", "label", "class", "n_positive_select", "n_positive_test", "auroc_select", "auroc"),
        *("average_precision", "f1", "threshold"),
    ]


def test_the_summary_names_the_marker_of_every_class(run):
    score(run)
    content = json.loads((run / "analysis.json").read_text())
    summary = content["summary"]["labels"]["cell_type"]
    assert {c["class"]: c["feature"] for c in summary["classes"]} == MARKER
    assert all(c["auroc_low"] <= c["auroc"] <= c["auroc_high"] for c in summary["classes"])
    assert all(c["auroc"] > c["null_auroc"] for c in summary["classes"])
    assert all(len(c["top_genes"]) == 5 for c in summary["classes"])
    assert len(MARKER) <= summary["n_significant"] < D_SAE - 1
    assert content["n_tests"] == D_SAE * len(CLASSES)
    assert sum(content["split"].values()) == 240
    assert content["n_samples_without_tokens"] == 1
    assert sum(content["summary"]["density"].values()) == D_SAE


def test_switched_off_analyses_leave_no_column(run):
    scores = score(run, run_label_scoring=False, run_gene_scoring=False, run_expression_scoring=False)
    assert set(scores.columns.get_level_values(0)) == {"density"}
    assert not (run / "tables").exists()


def test_the_same_seed_gives_the_same_scores(run):
    pd.testing.assert_frame_equal(score(run), score(run))


def test_a_label_that_cannot_be_scored_is_named(run, tokens):
    write_table(run / "features.h5ad", tokens, constant="x", missing=np.nan)
    scores = score(run, label_keys=["constant", "cell_type", "missing"])
    assert "label:constant" not in scores and "label:cell_type" in scores
    left_out = json.loads((run / "analysis.json").read_text())["summary"]["labels_left_out"]
    assert "one class only (x)" in left_out["constant"]
    assert "no sample of the select part has a value of missing" in left_out["missing"]


def test_an_unknown_column_names_those_that_exist(run):
    with pytest.raises(DataError, match="no column celltype; they have cell_type, donor"):
        score(run, label_keys=["celltype"])


def test_token_codes_of_another_sae_are_refused(run, tokens):
    write_token_codes(run / "other", tokens, sae_hash="def")
    with pytest.raises(ArtefactError, match="different runs"):
        analyze(run / "features.h5ad", run / "other", run, **SETTINGS)
