"""A model of two files outside the package, from the command line: those of docs/add-a-model.md."""

import json
import os
import subprocess
import sys

import anndata
import pytest

from biosae.data.files import data_paths

pytestmark = pytest.mark.slow


def test_a_model_of_two_files_trains_and_gives_features(panel_folder, write_panel, tmp_path):
    genes = anndata.read_h5ad(data_paths(None)[0], backed="r").var_names[:2000].tolist()
    checkpoint = tmp_path / "checkpoint"
    checkpoint.mkdir()
    write_panel(checkpoint, genes)
    given = (f"scfm.model_dir={checkpoint}", "data.n_cells=60", "training.epochs=1")
    in_terminal(panel_folder, tmp_path, "train", "--config-dir", str(panel_folder), "scfm=panel", *given)
    (run,) = (tmp_path / "runs" / "0").iterdir()
    assert json.loads((run / "run.json").read_text())["model"]["name"] == "checkpoint"
    assert "loader: panel" in (run / "config.yaml").read_text()
    in_terminal(panel_folder, tmp_path, "features")
    table = anndata.read_h5ad(run / "features.h5ad")
    assert table.n_obs == 60 and table.X.nnz > 0


def in_terminal(plugins, folder, *words):
    """Runs a command in a process of its own, which knows the plugin by the environment alone."""
    path = os.pathsep.join([str(plugins), *filter(None, [os.environ.get("PYTHONPATH")])])
    env = os.environ | {"BIOSAE_PLUGINS": "panel", "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "biosae", *words]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
