import json
import os
import subprocess
import sys

import anndata
import numpy as np
import pandas as pd
import pytest

from biosae.commands.inputs import data_paths

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
    assert biosae("train", "data=h5ad", "data.path=none/*.h5ad")[1].endswith("has no .h5ad or .zarr in it")


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
