import json

import anndata
import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import save_file
from scipy import stats

from biosae.analysis.labels.classes import LabelColumn
from biosae.analysis.labels.continuous import continuous_scores
from biosae.analysis.score_features import score_features
from biosae.artefacts import content_hash
from biosae.errors import ArtefactError, DataError

from .conftest import CLASSES, D_SAE, MARKER, SILENT, write_table, write_token_codes

SETTINGS = {
    "label_keys": ["cell_type"],
    "group_key": "donor",
    "run_label_scoring": True,
    "run_gene_scoring": True,
    "run_expression_scoring": True,
    "run_density_scoring": True,
    "run_explanations": False,
    "seed": 0,
    "n_permutations": 200,
}


def score(run, **settings):
    return score_features(run / "features.h5ad", run / "token_codes", run, **SETTINGS | settings)


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
    assert set(read.columns.get_level_values(0)) == {
        *("density", "genes", "expression", "label:cell_type", "donors:cell_type")
    }
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
    whole_family = stats.false_discovery_control(tables["labels"]["p_single"].dropna())
    np.testing.assert_allclose(tables["labels"]["q_value"].dropna(), whole_family, rtol=1e-6)
    assert len(tables["labels"]) == D_SAE * len(CLASSES)
    assert list(tables["labels"].columns) == [
        *("feature", "label", "class", "n_positive_select", "n_positive_test", "auroc_select", "auroc"),
        *("average_precision", "f1", "threshold", "p_single", "q_value"),
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
    assert content["n_tests"] == (D_SAE - 2) * len(CLASSES)  # two features never fire
    assert sum(content["split"].values()) == 240
    assert content["n_samples_without_tokens"] == 1
    assert sum(content["summary"]["density"].values()) == D_SAE


def test_switched_off_analyses_leave_no_column(run):
    scores = score(run, run_label_scoring=False, run_gene_scoring=False, run_expression_scoring=False)
    assert set(scores.columns.get_level_values(0)) == {"density"}
    assert [path.name for path in (run / "tables").iterdir()] == ["density.csv"]


def test_the_same_seed_gives_the_same_scores(run):
    pd.testing.assert_frame_equal(score(run), score(run))


def test_a_label_that_cannot_be_scored_is_named(run, tokens):
    write_table(run / "features.h5ad", tokens, constant="x", missing=np.nan)
    scores = score(run, label_keys=["constant", "cell_type", "missing"])
    assert "label:constant" not in scores and "label:cell_type" in scores
    left_out = json.loads((run / "analysis.json").read_text())["summary"]["labels_left_out"]
    assert "one class only (x)" in left_out["constant"]
    assert "no sample of the select part has a value of missing" in left_out["missing"]


def test_how_numbers_are_read_and_what_is_left_out_is_said(run, tokens, caplog):
    table = anndata.read_h5ad(run / "features.h5ad")
    n = table.n_obs
    write_table(run / "features.h5ad", tokens, leiden=np.arange(n) % 3, age=20 + np.arange(n) % 40)
    table = anndata.read_h5ad(run / "features.h5ad")
    rows = np.flatnonzero(table.obs["biosae_part"] == "test")[:7]
    table.obs["cell_type"] = table.obs["cell_type"].astype(object)
    table.obs.loc[table.obs_names[rows], "cell_type"] = "Unknown"
    table.write_h5ad(run / "features.h5ad")
    with caplog.at_level("INFO", logger="biosae"):
        scores = score(run, label_keys=["leiden", "age", "cell_type"])
    assert set(scores[("label:leiden", "class")].dropna()) <= {"0", "1", "2"}
    assert "spearman" in scores["label:age"]
    assert "leiden: 3 different numbers, read as 3 classes" in caplog.text
    assert "age: 40 different numbers, read as numbers; store it as text to score its classes" in caplog.text
    assert "cell_type=Unknown is not scored: it names no class; 7 samples are left out" in caplog.text
    assert "Unknown" not in set(scores[("label:cell_type", "class")])


def test_a_label_that_no_shuffle_can_change_says_why_it_has_no_test(run, tokens, caplog):
    write_table(run / "features.h5ad", tokens)
    table = anndata.read_h5ad(run / "features.h5ad")
    sick = table.obs["donor"].astype(str).isin(sorted(set(table.obs["donor"].astype(str)))[:2])
    table.obs["disease"] = np.where(sick, "sick", "well")
    table.write_h5ad(run / "features.h5ad")
    with caplog.at_level("INFO", logger="biosae"):
        score(run, label_keys=["disease", "cell_type"])
    labels = json.loads((run / "analysis.json").read_text())["summary"]["labels"]
    why = "each donor has one disease only, so that shuffling within donor changes nothing"
    assert (labels["disease"]["n_tests"], labels["disease"]["untested"]) == (0, why)
    assert labels["cell_type"]["untested"] is None
    assert f"disease: no test was possible, because {why}" in caplog.text
    empty = [marker[name] for marker in labels["disease"]["classes"] for name in ("null_auroc", "p_value", "q_value")]
    assert empty == [None] * 6
    score(run, label_keys=["disease"], group_key=None)
    assert json.loads((run / "analysis.json").read_text())["summary"]["labels"]["disease"]["untested"] is None


def test_an_unknown_column_names_those_that_exist(run):
    with pytest.raises(DataError, match="no column celltype; they have cell_type, donor"):
        score(run, label_keys=["celltype"])


def test_token_codes_of_another_sae_are_refused(run, tokens):
    write_token_codes(run / "other", tokens, sae_hash="def")
    with pytest.raises(ArtefactError, match="different runs"):
        score_features(run / "features.h5ad", run / "other", run, **SETTINGS)


def test_samples_of_training_change_no_score(run, tokens):
    expected = score(run)
    is_train = (anndata.read_h5ad(run / "features.h5ad").obs["biosae_part"] == "train").to_numpy()
    changed = tokens["codes"].multiply(1 + is_train[tokens["sample"]][:, None]).tocsr().astype(np.float32)
    other = run / "other"
    write_token_codes(other / "token_codes", tokens | {"codes": changed})
    write_table(other / "features.h5ad", tokens | {"codes": changed})
    pd.testing.assert_frame_equal(score(other), expected)


def test_only_training_samples_is_an_error(run, tokens):
    write_table(run / "features.h5ad", tokens, biosae_part="train")
    with pytest.raises(DataError, match="no sample with tokens was held out"):
        score(run)


def test_a_label_of_numbers_is_scored_by_rank_correlation(run, tokens):
    dose = (tokens["label"] == "NK") + np.random.default_rng(0).random(240)
    write_table(run / "features.h5ad", tokens, dose=dose)
    found = score(run, label_keys=["dose"], group_key=None)["label:dose"]
    table = anndata.read_h5ad(run / "features.h5ad")
    table = table[table.obs["biosae_n_tokens"] > 0]
    part = table.obs["biosae_part"].astype(str).to_numpy()
    expected = continuous_scores(table.X.tocsr(), LabelColumn(table.obs["dose"], part), 200, 0)
    np.testing.assert_allclose(found["spearman"], expected["spearman"])
    summary = json.loads((run / "analysis.json").read_text())["summary"]["continuous"]["dose"]
    assert summary["best"]["feature"] == MARKER["NK"] and summary["best"]["q_value"] < 0.05


def test_gene_sets_of_the_user_are_tested(run):
    sets = {"of feature 4 and others": [f"GENE{n}" for n in range(5, 15)], "elsewhere": ["TP53"]}
    (run / "mine.json").write_text(json.dumps(sets))
    scores = score(run, gene_sets=[run / "mine.json"])
    assert scores["enrichment"].loc[4, "set"] == "of feature 4 and others"
    assert scores["enrichment"].loc[4, "p_value"] == pytest.approx(10 / 30)  # one gene of 30, ten are in the set
    summary = json.loads((run / "analysis.json").read_text())["summary"]["enrichment"]
    assert (summary["n_sets"], summary["n_background"], summary["n_tests"]) == (1, 30, D_SAE - 2)


def test_a_missing_gene_set_file_stops_before_anything_is_written(run):
    with pytest.raises(DataError, match="does not exist"):
        score(run, gene_sets=["none.gmt"])
    assert not (run / "scores.csv").exists()


def test_every_analysis_says_what_it_was_selected_and_is_reported_on(run, tokens):
    write_table(run / "features.h5ad", tokens, dose=np.random.default_rng(0).random(240))
    scores = score(run, label_keys=["cell_type", "dose"])
    samples = json.loads((run / "analysis.json").read_text())["samples"]
    assert set(samples) == set(scores.columns.get_level_values(0))
    part = anndata.read_h5ad(run / "features.h5ad").obs["biosae_part"].astype(str)
    part = part.drop("cell3")  # without tokens
    for name in ("label:cell_type", "donors:cell_type", "label:dose"):
        assert samples[name]["selected_on"] == "select" and samples[name]["reported_on"] == "test"
        assert samples[name]["n_selected_on"] == (part == "select").sum()
        assert samples[name]["n_reported_on"] == (part == "test").sum()
    assert samples["density"]["n_reported_on"] == (part != "train").sum()


def test_families_of_the_user_stand_beside_the_usual_ones(run):
    (run / "mine.gmt").write_text("gene nine\tmine\tGENE9\n")
    scores = score(run, gene_families=[run / "mine.gmt"])["families"]
    assert scores.loc[4, "family"] == "gene nine" and scores.loc[4, "gene nine"] == 1


def test_tests_by_rank_leave_large_files_out(run, caplog):
    many = {f"set {i}": [f"GENE{n}" for n in range(10)] for i in range(201)}
    few = {"first ten": [f"GENE{n}" for n in range(10)]}
    for name, sets in (("many", many), ("few", few)):
        (run / f"{name}.json").write_text(json.dumps(sets))
    score(run, gene_sets=[run / "many.json", run / "few.json"], n_permutations=20)
    assert set(pd.read_csv(run / "scores.csv", header=[0, 1])["enrichment_by_rank", "source"].dropna()) == {"few"}
    assert caplog.text.count("many has more than 200 sets: tests by rank leave it out") == 1


@pytest.mark.parametrize(
    ("genes", "says"),
    [
        (["TP53", "MYC"], "none of the 30 tokens seen is a gene of any set, so no set is tested"),
        (["TP53", "GENE1"], "far: none of its sets has 5 to 500 of the genes in these samples"),
    ],
)
def test_sets_without_genes_of_the_data_are_named_and_left_out(run, caplog, genes, says):
    caplog.set_level("INFO", "biosae")
    (run / "far.json").write_text(json.dumps({"far": genes}))
    scores = score(run, gene_sets=[run / "far.json"], n_permutations=50)
    assert "enrichment" not in scores
    assert says in caplog.text


def test_geometry_is_scored_beside_an_sae(run, tokens):
    decoder = np.eye(D_SAE, 6, dtype=np.float32) + 0.1
    save_file({"W_dec": decoder / np.linalg.norm(decoder, axis=1, keepdims=True)}, run / "sae.safetensors")
    with pytest.raises(ArtefactError, match="were not made with"):
        score(run)
    sae_hash = content_hash(run / "sae.safetensors")
    write_token_codes(run / "mended", tokens, sae_hash=sae_hash)
    write_table(run / "features.h5ad", tokens, sae_hash=sae_hash)
    scores = score_features(run / "features.h5ad", run / "mended", run, **SETTINGS)["geometry"]
    assert scores["embedding_energy"].isna().all()  # the table has no embedding
    assert scores["nearest_cosine"].between(-1, 1 + 1e-6).all()
    assert set(scores.loc[6:, "nearest"]) <= set(range(6, D_SAE))  # rows beyond the sixth are all alike
