import json
import os
import subprocess
import sys

import anndata
import numpy as np
import pandas as pd
import pytest

from biosae.data.files import data_paths
from biosae.training.train_state import TrainState

QUICK = ("training.epochs=1", "sae.dictionary_multiplier=1", "sae.hyperparams.k=8")


def test_cells_without_a_known_gene_are_reported_and_keep_their_row(biosae, tmp_path):
    cells = anndata.read_h5ad(data_paths(None)[0])[:120].copy()
    counts = cells.X.toarray()
    counts[[3, 50]] = 0
    strange = np.zeros((120, 1), dtype=counts.dtype)
    strange[[3, 50]] = 7  # a gene that no vocabulary has
    var = pd.DataFrame({"gene_ids": [*cells.var["gene_ids"], ""]}, index=[*cells.var_names, "NOSUCHGENE"])
    path = tmp_path / "cells.h5ad"
    anndata.AnnData(np.hstack([counts, strange]), obs=cells.obs, var=var).write_h5ad(path)
    code, said = biosae("train", "data=h5ad", f"data.path={path}", *QUICK)
    assert code == 0, said
    assert "2 cells express no gene that geneformer-mini knows" in said
    code, said = biosae("features")
    assert code == 0, said
    (table,) = (anndata.read_h5ad(file) for file in tmp_path.glob("runs/0/*/features.h5ad"))
    assert list(table.obs_names) == list(cells.obs_names)
    assert list(np.flatnonzero(table.obs["biosae_n_tokens"] == 0)) == [3, 50]
    assert table.X[[3, 50]].nnz == 0
    assert np.isnan(table.obsm["X_model"][[3, 50]]).all()
    assert list(table.obs["cell_type"]) == list(cells.obs["cell_type"])


def test_a_sweep_makes_one_run_for_each_value(biosae, tmp_path):
    code, said = biosae("train", "-m", "sae.hyperparams.k=4,8", "data.n_cells=100", "buffer=stream", QUICK[0], QUICK[1])
    assert code == 0, said
    settings = [path.read_text() for path in sorted(tmp_path.glob("runs/0/*/sae.yaml"))]
    assert sorted(line for text in settings for line in text.split("\n") if line.startswith("k:")) == ["k: 4", "k: 8"]


def test_a_folder_of_files_trains_the_sae_that_its_cells_in_one_file_train(biosae, tmp_path):
    cells = anndata.read_h5ad(data_paths(None)[0])[:120].copy()
    cells.write_h5ad(tmp_path / "whole.h5ad")
    (tmp_path / "parts").mkdir()
    for name, rows in {"a": slice(0, 50), "b": slice(50, 120)}.items():
        cells[rows].copy().write_h5ad(tmp_path / "parts" / f"{name}.h5ad")
    for n, path in enumerate(("whole.h5ad", "parts", "parts/*.h5ad", "[parts/a.h5ad,parts/b.h5ad]")):
        words = (f"data.path={path}", f"experiment.number={n}", "data.label_keys=[cell_type]", *QUICK)
        code, said = biosae("train", "data=h5ad", *words)
        assert code == 0, said
    weights = {path.read_bytes() for path in tmp_path.glob("runs/*/*/sae.safetensors")}
    hashes = {json.loads(path.read_text())["data"]["hash"] for path in tmp_path.glob("runs/[123]/*/run.json")}
    assert (len(weights), len(hashes)) == (1, 1)
    assert biosae("train", "data=h5ad", "data.path=none/*.h5ad")[1].endswith("is a pattern that no file fits")


def test_a_users_own_configuration_folder_is_found(biosae, tmp_path):
    (tmp_path / "conf" / "data").mkdir(parents=True)
    mine = "defaults: [h5ad]\nname: mine\npath: my.h5ad\npreprocess: {split: 0.25}\n"
    (tmp_path / "conf" / "data" / "mine.yaml").write_text(mine)
    code, said = biosae("train", "--config-dir", str(tmp_path / "conf"), "data=mine", "--cfg", "job")
    assert code == 0
    assert "name: mine path: my.h5ad" in said


@pytest.mark.slow
def test_a_sweep_runs_as_jobs_of_submitit(tmp_path):
    """Two jobs at once: one extraction serves both, and each has a folder of its own."""
    words = ("-m", "hydra/launcher=submitit_local", "sae.hyperparams.k=4,8", "data.n_cells=60", *QUICK[:2])
    command = [sys.executable, "-m", "biosae", "train", *words]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    settings = [path.read_text() for path in tmp_path.glob("runs/0/*/sae.yaml")]
    assert sorted(line for text in settings for line in text.split("\n") if line.startswith("k:")) == ["k: 4", "k: 8"]
    assert len(list(tmp_path.glob("runs/activations/*"))) == 1


SMALL = ("data.n_cells=60", "training.epochs=1", "training.batch_size=128", "sae.dictionary_multiplier=1")


def weights(folder):
    """What the finished runs below a folder learned."""
    return {path.with_name("sae.safetensors").read_bytes() for path in folder.glob("*/run.json")}


def test_a_sweep_in_one_pass_trains_the_saes_that_runs_of_their_own_train(biosae, tmp_path):
    grid = ("sae.hyperparams.k=4,8", "sae.hyperparams.lr=1e-3,5e-3")
    code, said = biosae("train", "-m", *grid, *SMALL)
    assert code == 0, said
    assert "pass 1 of 1: 4 SAEs on the same activations" in said
    code, said = biosae("train", "-m", *grid, *SMALL, "experiment.number=1", "experiment.saes_per_pass=1")
    assert code == 0, said
    assert "pass 4 of 4: 1 SAE" in said
    together, alone = (weights(tmp_path / "runs" / number) for number in "01")
    assert len(together) == 4
    assert together == alone
    for number in "01":
        numbers = [path.read_text() for path in sorted(tmp_path.glob(f"runs/{number}/*/evaluation.json"))]
        assert len(set(numbers)) == 4
        assert biosae("sweep", f"experiment.number={number}")[0] == 0
    tables = [pd.read_csv(tmp_path / "runs" / number / "sweep.csv").drop(columns="run") for number in "01"]
    assert list(tables[0]["sae.hyperparams.k"]) == [4, 4, 8, 8]
    pd.testing.assert_frame_equal(*tables)


def test_variants_share_a_pass_and_seeds_do_not(biosae, tmp_path):
    code, said = biosae("train", "-m", "sae=topk,gated", "seed=0,1", *SMALL)
    assert code == 0, said
    assert "pass 2 of 2: 2 SAEs" in said
    described = [json.loads(path.read_text()) for path in tmp_path.glob("runs/0/*/run.json")]
    assert sorted((run["sae"]["variant"], run["seed"]) for run in described) == [
        ("Gated", 0), ("Gated", 1), ("TopK", 0), ("TopK", 1),
    ]  # fmt: skip


def test_several_layers_share_the_passes_of_the_model_and_differ_from_runs_of_one_in_nothing(biosae, tmp_path):
    code, said = biosae("train", "-m", "sae=topk,gated", "sae.target_layer=[1,2]", *SMALL)
    assert code == 0, said
    assert "pass 1 of 2: 2 SAEs on the same activations, layer 1" in said and "pass 2 of 2" in said
    assert said.count("activations take") == said.count("reading tokens") == 1  # said before an extraction
    assert len(list(tmp_path.glob("runs/activations/*"))) == 2
    described = [json.loads(path.read_text()) for path in tmp_path.glob("runs/0/*/run.json")]
    assert sorted((run["sae"]["variant"], run["model"]["layer"]) for run in described) == [
        ("Gated", 1), ("Gated", 2), ("TopK", 1), ("TopK", 2),
    ]  # fmt: skip
    for layer in "12":
        words = ("-m", "sae=topk,gated", f"sae.target_layer={layer}", "experiment.number=1")
        assert biosae("train", *words, *SMALL)[0] == 0
    together, alone = (weights(tmp_path / "runs" / number) for number in "01")
    assert len(together) == 4
    assert together == alone
    assert biosae("sweep")[0] == 0
    assert sorted(pd.read_csv(tmp_path / "runs/0/sweep.csv")["sae.target_layer"]) == [1, 1, 2, 2]


def test_one_command_trains_an_sae_for_each_layer_and_says_where_they_are(biosae, tmp_path):
    code, said = biosae("train", "sae.target_layer=[0,-1]", *SMALL)
    assert code == 0, said
    assert "pass 2 of 2: 1 SAE, layer -1" in said and "side by side: biosae sweep experiment.number=0" in said
    described = [json.loads(path.read_text()) for path in tmp_path.glob("runs/0/*/run.json")]
    assert sorted(run["model"]["layer"] for run in described) == [0, described[0]["model"]["n_layers"] - 1]


def test_a_pass_that_was_cut_off_goes_on_in_its_folders(biosae, tmp_path, monkeypatch):
    words = ("train", "-m", "sae.hyperparams.k=4,8", *SMALL, "experiment.checkpoint_seconds=0")
    ordinary, count = TrainState.step, iter(range(10**9))

    def cut_off(learner, x):
        if next(count) == 25:  # the second SAE has not learned from a batch that the first one has
            raise KeyboardInterrupt
        ordinary(learner, x)

    with monkeypatch.context() as cut:
        cut.setattr(TrainState, "step", cut_off)
        assert biosae(*words)[0] == 130
    code, said = biosae(*words)
    assert code == 0, said
    assert said.count("continuing") == 2
    assert biosae(*words, "experiment.number=1", "experiment.checkpoint_seconds=60")[0] == 0
    parts, whole = (weights(tmp_path / "runs" / number) for number in "01")
    assert len(parts) == 2
    assert parts == whole


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("-m", "sae.hyperparams.k=4,100000"), "k must be a whole number between 1 and d_sae=128, got 100000"),
        (("sae.target_layer=[1,1]",), "several different ones, such as [1,2], got [1, 1]"),
        (("sae.target_layer=[]",), "several different ones, such as [1,2], got []"),
        (("sae.target_layer=[1,9]",), "has layers 0 to 3 (or -4 to -1), got 9"),
        (("sae.target_layer=deep",), "sae.target_layer is one layer here, such as -2, got deep"),
        (("-m", "experiment.saes_per_pass=0"), "experiment.saes_per_pass must be at least 1, got 0"),
        (
            ("sae=[topk,gated]",),
            "sae takes one option at a time; for a sweep over them: biosae train -m sae=topk,gated",
        ),
    ],
)
def test_a_bad_sweep_ends_in_one_line_before_anything_is_trained(biosae, tmp_path, words, says):
    code, said = biosae("train", *words, *SMALL)
    assert code == 1
    assert says in said
    assert not list(tmp_path.glob("runs/0/*"))
