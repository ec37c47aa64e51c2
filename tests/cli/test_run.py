import json
import subprocess
import sys

import anndata
import numpy as np
import pandas as pd
import pytest
import torch

from biosae.activations.store import ActivationStore
from biosae.artefacts import content_hash
from biosae.locks import locked
from biosae.saes import files


def test_every_artefact_is_there(finished_run):
    run, _ = finished_run
    expected = (
        "sae.safetensors", "sae.yaml", "config.yaml", "run.json", "split.csv", "metrics.csv", "evaluation.json",
        "features.h5ad", "token_codes/manifest.json", "scores.csv", "tables/labels.csv", "tables/genes.csv",
        "analysis.json", "report/index.html",
    )  # fmt: skip
    assert [name for name in expected if not (run / name).exists()] == []
    assert not list(run.rglob("*.pkl"))


def test_the_summary_says_which_feature_marks_which_type_and_where_the_report_is(finished_run):
    run, said = finished_run
    assert "best feature for each cell_type_coarse" in said
    assert "Mono" in said
    assert "AUROC" in said
    assert "null" in said
    assert str(run.relative_to(run.parents[2]) / "report" / "index.html") in said


def test_run_json_ties_the_artefacts_together(finished_run):
    run, _ = finished_run
    described = json.loads((run / "run.json").read_text())
    assert described["sae"]["hash"] == content_hash(run / "sae.safetensors")
    manifest = json.loads((run / "token_codes" / "manifest.json").read_text())
    assert manifest["sae_hash"] == described["sae"]["hash"]
    assert manifest["activations_hash"] == described["activations"]["hash"]
    assert anndata.read_h5ad(run / "features.h5ad").uns["biosae"]["sae_hash"] == described["sae"]["hash"]
    assert json.loads((run / "analysis.json").read_text())["features_hash"] == content_hash(run / "features.h5ad")


def test_features_are_aligned_with_the_cells_and_recomputable_from_the_weights(finished_run):
    run, _ = finished_run
    table = anndata.read_h5ad(run / "features.h5ad")
    split = pd.read_csv(run / "split.csv")
    assert list(table.obs_names) == list(split["sample"])
    assert list(table.obs["biosae_part"]) == list(split["part"])
    described = json.loads((run / "run.json").read_text())
    store = ActivationStore(run.parents[2] / described["activations"]["folder"])
    shard = next(store.shards())
    cell = int(shard.sample[0])
    codes = files.load(run).encode(shard.values[(shard.sample == cell) & ~shard.special].float()).dense()
    # Codes of float16 activations are stored as float32: only the order of additions can differ.
    np.testing.assert_allclose(table.X[cell].toarray()[0], codes.max(0).values, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(table.layers["mean"][cell].toarray()[0], codes.mean(0), rtol=1e-4, atol=1e-5)


def test_the_sae_never_saw_a_held_out_cell(finished_run):
    run, _ = finished_run
    described = json.loads((run / "run.json").read_text())
    table = anndata.read_h5ad(run / "features.h5ad", backed="r")
    in_training = table.obs["biosae_part"] == "train"
    assert described["activations"]["n_train_tokens"] == table.obs.loc[in_training, "biosae_n_tokens"].sum()


def test_held_out_numbers_are_what_the_weights_give(finished_run):
    run, _ = finished_run
    evaluation = json.loads((run / "evaluation.json").read_text())
    described = json.loads((run / "run.json").read_text())
    store = ActivationStore(run.parents[2] / described["activations"]["folder"])
    validate = torch.from_numpy((pd.read_csv(run / "split.csv")["part"] == "validate").to_numpy())
    x = torch.cat([s.values[validate[s.sample] & ~s.special].float() for s in store.shards()]).double()
    sae = files.load(run).double()
    error = (sae(x) - x).square().sum() / (x - x.mean(0)).square().sum()
    assert evaluation["fvu"] == pytest.approx(float(error), rel=1e-3)
    assert 0 < evaluation["fvu"] < 0.6
    assert evaluation["recovery_vs_mean"] > 0.5


def test_scores_report_a_null_and_leave_out_selection_samples(finished_run):
    run, _ = finished_run
    scores = pd.read_csv(run / "scores.csv", header=[0, 1], index_col=0)
    label = scores["label:cell_type_coarse"]
    assert {"auroc", "null_auroc", "p_value", "q_value"} <= set(label.columns)
    # Monocytes: a quarter of the cells, and the type that differs most from the others.
    best = label[label["class"] == "Mono"].dropna(subset=["auroc"]).sort_values("auroc_select").iloc[-1]
    assert best["auroc"] > best["null_auroc"] > 0.5


def test_features_are_scored_again_on_cells_of_other_donors(finished_run):
    run, said = finished_run
    table = pd.read_csv(run / "transfer.csv").set_index("class")
    assert table.loc["Mono", "auroc"] > 0.9 and table.loc["Mono", "p_value"] < 0.01
    markers = json.loads((run / "analysis.json").read_text())["summary"]["labels"]["cell_type_coarse"]["classes"]
    assert table["feature"].to_dict().items() <= {row["class"]: row["feature"] for row in markers}.items()
    assert "other cells: the same features on 311 cells of pbmc_cite.h5ad, which the SAE never saw" in said
    assert "expressed where it fires" in said and "features are explained" in said


def test_later_stages_run_again_alone(finished_run, biosae):
    run, _ = finished_run
    root = run.parents[1]
    where = (f"experiment.root={root}", f"sae_checkpoint.timestamp={run.name}")
    before = content_hash(run / "scores.csv")
    code, said = biosae("analyze", *where, "analysis.n_permutations=99")
    assert (code, content_hash(run / "scores.csv")) == (0, before), said
    assert biosae("report", *where)[0] == 0


def test_the_report_can_be_one_file(finished_run, biosae):
    run, _ = finished_run
    code, _ = biosae("report", f"experiment.root={run.parents[1]}", "report.one_file=true")
    assert code == 0
    page = (run / "report.html").read_text()
    assert "<script src" not in page
    shards = list((run / "report" / "data").glob("*.js"))
    assert len(shards) > 3
    assert all(shard.read_text() in page for shard in shards)


def test_a_report_goes_elsewhere_when_told_and_no_lock_is_needed_on_the_run(finished_run, biosae, tmp_path):
    run, _ = finished_run
    with locked(run):
        assert biosae("report", f"experiment.root={run.parents[1]}")[0] == 1
        code, said = biosae("report", f"experiment.root={run.parents[1]}", "report.folder=elsewhere")
    assert code == 0, said
    assert (tmp_path / "elsewhere" / "report" / "index.html").exists()


def test_the_demo_records_that_the_model_never_read_its_cells(finished_run):
    run, _ = finished_run
    described = json.loads((run / "run.json").read_text())
    assert len(described["model"]["pretrained_on"]) == 5
    assert described["data"]["hash"] not in described["model"]["pretrained_on"]


def test_an_sae_of_another_model_is_refused(finished_run, biosae):
    run, _ = finished_run
    code, said = biosae("features", f"experiment.root={run.parents[1]}", "scfm.random_init=all")
    assert code == 1
    assert "this SAE was trained on geneformer-mini" in said
    assert "use the model that it was trained on" in said


@pytest.mark.parametrize(
    "script", ["train_sae", "generate_features", "analyze_features", "steer_features", "benchmark_integration"]
)
def test_scripts_take_the_same_overrides(script):
    from pathlib import Path

    path = Path(__file__).parents[2] / "scripts" / f"{script}.py"
    command = [sys.executable, path, "--cfg", "job", "sae.hyperparams.k=5"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "k: 5" in done.stdout


TOWARD_MONO = tuple(f"steer.perturbation.{word}" for word in ("key=cell_type_coarse", "control=CD4 T", "treated=Mono"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("stages=[train,steer]",),
            "the run has no donor or batch column to steer by; name a column as steer.target",
        ),
        (("stages=[train,steer]", "steer.target=donor"), "steer.target: the features have no column donor; they have"),
        (("stages=[train,steer]", "steer.target=cell_type", "steer.operation=melt"), "steer.operation must be one of"),
        (
            ("stages=[train,benchmark]", "benchmark.batch_key=batch"),
            "benchmark.batch_key=batch is not a column of the samples; they have",
        ),
        (
            ("stages=[train,benchmark]", "benchmark.batch_key=cell_type", "benchmark.label_key=cell_type_coarse"),
            "integration scores need 200 samples",
        ),
        (
            ("stages=[train,benchmark]", "benchmark.batch_key=cell_type"),
            "the run has none (cell_type_coarse: nested with cell_type); name one as benchmark.label_key",
        ),
        (
            ("stages=[train,steer]", "steer.perturbation.key=cell_type_coarse"),
            "steer.perturbation.key=cell_type_coarse needs two of its values, as control and treated",
        ),
        (  # the benchmark scores the sweep, which needs a column of its own
            ("stages=[train,steer,benchmark]", *TOWARD_MONO, "benchmark.batch_key=cell_type"),
            "the run has no donor or batch column to steer by; name a column as steer.target",
        ),
    ],
)
def test_what_later_stages_would_refuse_is_refused_before_training(biosae, tmp_path, words, message):
    code, said = biosae("run", "data.n_cells=300", "data.label_keys=[cell_type_coarse]", *words)
    assert code == 1
    assert message in said, said
    assert not (tmp_path / "runs" / "0").exists()
