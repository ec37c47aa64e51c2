"""The notebook of a scanpy user, cell by cell."""

import json

import anndata as ad
import matplotlib
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score, roc_auc_score

import biosae as bs
from biosae.cli import encode as encode_command
from biosae.errors import ArtefactError, DataError, SettingError

matplotlib.use("agg")


@pytest.fixture(scope="module")
def adata():
    return bs.datasets.pbmc3k()[:500].copy()


@pytest.fixture(scope="module")
def model():
    return bs.load_model("geneformer-mini")


@pytest.fixture(scope="module")
def run(adata, model):
    acts = bs.tl.activations(adata, model, layer=2)
    return bs.train(acts, "topk", k=16, expansion=2)


@pytest.fixture(scope="module")
def feats(adata, model, run):
    feats = bs.tl.encode(adata, model, run.sae)
    bs.tl.score_labels(feats, "cell_type", n_permutations=20)
    return feats


def test_activations_know_their_split(adata, model):
    acts = bs.tl.activations(adata, model, layer=-2, held_out=0.5)
    assert (acts.layer, acts.d_in) == (2, 128)
    assert sum(acts.split.sizes().values()) == 500
    assert abs(acts.split.sizes()["train"] - 250) <= 2  # copies stay together
    assert list(acts.obs.index) == list(adata.obs_names)


def test_features_are_an_annotated_table(adata, feats, run):
    assert feats.shape == (500, 256)
    assert list(feats.var_names[:2]) == ["f0", "f1"] and list(feats.obs_names) == list(adata.obs_names)
    assert feats.obsm["X_model"].shape == (500, 128)
    assert (feats.obs["cell_type"] == adata.obs["cell_type"]).all()
    own = run.features()
    np.testing.assert_array_equal(feats.X.toarray(), own.X.toarray())
    assert (feats.obs["biosae_part"].astype(str) == own.obs["biosae_part"].astype(str)).all()


def test_scores_come_back_into_the_table(feats):
    assert {"cell_type_class", "cell_type_auroc", "cell_type_null_auroc"} <= set(feats.var)
    assert feats.varm["cell_type"].shape[0] == feats.n_vars
    best = feats.var["cell_type_auroc"].idxmax()
    threshold = feats.var.loc[best, "cell_type_threshold"]
    code = feats[:, best].X.toarray().ravel()
    np.testing.assert_array_equal(feats[:, best].layers["on"].toarray().ravel() > 0, code >= threshold)
    assert feats.var["cell_type_auroc"].max() > 0.8


def test_scanpy_and_our_figures_draw_it(feats):
    scanpy = pytest.importorskip("scanpy")
    scanpy.pp.neighbors(feats, use_rep="X_model")
    scanpy.tl.umap(feats)
    scanpy.pl.umap(feats, color=["cell_type", "f3"], show=False)
    assert bs.pl.markers(feats, "cell_type", show=False).get_xlabel()
    where, groups, *_ = bs.pl.feature(feats, "f3", show=False).axes
    assert where.get_title() == "f3"
    assert groups.get_xlabel() == "f3: code, max over tokens"


def test_new_cells_get_the_old_features(model, run):
    other = bs.datasets.pbmc3k()[1000:1200].copy()
    found = bs.tl.encode(other, model, run.sae)
    assert set(found.obs["biosae_part"]) == {"select", "test"}
    assert (found.var["frequency_token"] > 0).sum() > 100


def test_a_single_cell_is_enough(model, run):
    one = bs.datasets.pbmc3k()[2000:2001].copy()
    assert bs.tl.encode(one, model, run.sae).shape == (1, 256)
    steered = bs.tl.steer(one, model, run.sae, {"f3": 0.0}, "scale")
    assert np.isfinite(steered.obsm["f3_scale_0"]).all()


def test_columns_of_mixed_kinds_are_read_as_text(adata, model):
    mixed = adata[:60].copy()
    mixed.obs["mixed"] = [1, "a", None] * 20
    mixed.uns["anything"] = {1: object()}
    obs = bs.tl.activations(mixed, model, layer=2).obs
    assert obs["mixed"].tolist()[:2] == ["1", "a"] and obs["mixed"].isna().sum() == 20


def test_a_scored_table_is_written_and_read(feats, tmp_path):
    feats.write_h5ad(tmp_path / "features.h5ad")
    again = ad.read_h5ad(tmp_path / "features.h5ad")
    assert set(again.var["cell_type_class"].cat.categories) <= set(feats.obs["cell_type"])  # "" is missing
    assert again.var["cell_type_auroc"].equals(feats.var["cell_type_auroc"])


def test_the_seed_of_training_is_not_that_of_the_split(adata, model):
    acts = bs.tl.activations(adata, model, layer=2, seed=3)
    run = bs.train(acts, "topk", k=8, expansion=1, max_tokens=4096, seed=5)
    record = json.loads((run.folder / "run.json").read_text())
    assert (record["seed"], record["split"]["seed"]) == (5, 3)


def test_edited_cells_are_embedded_beside_the_original(adata, model, run):
    some = adata[:20].copy()
    steered = bs.tl.steer(some, model, run.sae, features={"f3": 2.0, 5: 0.0}, operation="scale")
    assert list(steered.obsm) == ["original", "f3_scale_2", "f5_scale_0"]
    same = bs.tl.steer(some, model, run.sae, features={"f3": 1.0}, operation="scale")
    np.testing.assert_array_equal(same.obsm["f3_scale_1"], same.obsm["original"])
    assert np.abs(steered.obsm["f5_scale_0"] - steered.obsm["original"]).max() > 0


def test_a_run_is_asked(run, adata, model, tmp_path):
    run.score(label_keys=["cell_type"], n_permutations=10)
    saved = bs.load_run(run.save(tmp_path / "run"))
    assert {"reads", "expressed"} >= set(saved.features_for_gene("LYZ")["why"]) != set()
    top = saved.top_cells("f3", 5)
    assert (top["code"].diff().dropna() <= 0).all() and "cell_type" in top
    assert saved.describe("f3")["density/frequency_token"] > 0
    assert 0 < saved.write_gmt(tmp_path / "features.gmt", n=20) <= 256
    saved.attach(adata)
    assert adata.obsm["X_sae"].shape == (500, 256)
    other = bs.datasets.pbmc3k()[1000:1010].copy()
    with pytest.raises(DataError, match="not among those of the run"):
        saved.attach(other)


def test_the_command_line_encodes_new_cells_with_frozen_thresholds(run, tmp_path, monkeypatch, capfd):
    run.score(label_keys=["cell_type"], n_permutations=10)
    bs.datasets.pbmc3k()[1000:1300].write_h5ad(tmp_path / "new.h5ad")
    out = tmp_path / "encoded"
    words = [f"run={run.folder}", f"data.path={tmp_path / 'new.h5ad'}", f"out={out}"]
    monkeypatch.setattr("sys.argv", ["biosae encode", *words])
    encode_command.main()
    table, features = pd.read_csv(out / "transfer.csv").set_index("class"), ad.read_h5ad(out / "features.h5ad")
    assert features.n_obs == 300 and set(features.obs["biosae_part"]) == {"select", "test"}
    row = table.loc["CD14+ Mono"]
    member = (features.obs["cell_type"] == "CD14+ Mono").to_numpy()
    code = features.X[:, [int(row["feature"])]].toarray().ravel()
    assert row["auroc"] == pytest.approx(roc_auc_score(member, code), abs=1e-5)
    assert row["f1"] == pytest.approx(f1_score(member, code >= row["threshold"]), abs=1e-5)
    assert "CD14+ Mono" in "".join(capfd.readouterr())


def test_the_page_is_written_from_the_table(feats, tmp_path):
    page = bs.report(feats, tmp_path / "report")
    assert page.name == "index.html" and page.exists()


def test_other_models_are_refused(adata, run):
    other = bs.load_model("geneformer-mini", random_init="all")
    with pytest.raises(ArtefactError, match="this SAE was trained on"):
        bs.tl.encode(adata[:20].copy(), other, run.sae)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda a, m: bs.tl.activations(a, m, layer=9), "layer"),
        (lambda a, m: bs.tl.activations(a, m, group_key="donor"), "donor"),
        (lambda a, m: bs.tl.activations("cells.h5ad", m), "must be an AnnData, got str"),
        (lambda a, m: bs.load_model("geneformer"), "model_dir"),
        (lambda a, m: bs.load_model("genformer-mini"), "did you mean geneformer-mini"),
        (lambda a, m: bs.load_model("scgpt"), "needs model_dir"),
        (lambda a, m: bs.tl.score_labels(a, "cell_type"), "must come from bs.tl.encode"),
    ],
)
def test_what_cannot_work_says_so(adata, model, call, says):
    with pytest.raises((SettingError, DataError), match=says):
        call(adata, model)
