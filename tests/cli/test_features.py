import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import yaml

from biosae.artefacts import content_hash
from biosae.features import encode

KILLED = """
import os, signal, sys
from biosae.features import encode
encode.write_feature_table = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
sys.argv = ["biosae", "features", *sys.argv[1:]]
from biosae.__main__ import main
main()
"""


@pytest.fixture
def run(finished_run, tmp_path):
    """A copy of the run without its features, and the settings that find it and its activations."""
    original, _ = finished_run
    folder = tmp_path / "runs" / "0" / original.name
    left_out = shutil.ignore_patterns("report", "tables", "features.h5ad", "token_codes", "controls")
    shutil.copytree(original, folder, ignore=left_out)
    return folder, (f"experiment.root={tmp_path}/runs", f"buffer.cache={original.parents[1]}/activations")


def test_a_killed_command_goes_on_from_its_files(run, finished_run, biosae, monkeypatch):
    folder, where = run
    done = subprocess.run([sys.executable, "-c", KILLED, *where], capture_output=True)
    assert done.returncode == -signal.SIGKILL
    shard = folder / "token_codes" / "shard-00000.safetensors"
    assert shard.exists() and not (folder / "features.h5ad").exists()
    written = content_hash(shard), shard.stat().st_mtime_ns

    def encode_again(*_):
        raise AssertionError("a shard that is whole was encoded again")

    monkeypatch.setattr(encode, "encode_shard", encode_again)
    code, said = biosae("features", *where)
    assert code == 0, said
    assert written == (content_hash(shard), shard.stat().st_mtime_ns)
    found, expected = (anndata.read_h5ad(path / "features.h5ad") for path in (folder, finished_run[0]))
    np.testing.assert_allclose(found.X.toarray(), expected.X.toarray(), rtol=1e-5)  # threads sum in another order


def test_a_run_of_a_version_that_knew_fewer_keys_is_read(run, biosae):
    folder, where = run
    config = yaml.safe_load((folder / "config.yaml").read_text())
    for key in ("filter", "obs_columns", "stratify"):
        del config["data"][key]
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    code, said = biosae("features", *where)
    assert code == 0, said


def test_the_block_for_notebooks_runs_as_it_stands(finished_run, monkeypatch):
    run, _ = finished_run
    page = (Path(__file__).parents[2] / "docs" / "hub.md").read_text()
    (block,) = (block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "ActivationStore" in block)
    monkeypatch.chdir(run.parents[2])
    names = {}
    exec(block.replace("runs/0/Jan29-10-00", f"runs/0/{run.name}"), names)
    sae, x = names["sae"], names["x"]
    without = sae.decode(names["codes"]) - names["edited"]
    code = sae.encode(x).dense()[:, 12:13]
    np.testing.assert_allclose(without, (code * sae.W_dec[12] * sae.input_scale).detach(), atol=1e-4)  # float32 sums
    assert (code > 0).any()


def test_one_setting_of_the_data_leaves_the_others_as_the_run_had_them(run, biosae):
    """It was trained on 400 cells of the file; the settings of a command line without data= are those of all cells."""
    folder, where = run
    code, said = biosae("features", *where, "data.batch_key=cell_type_coarse")
    assert code == 0, said
    assert "donor or batch: cell_type_coarse" in said
    split = pd.read_csv(folder / "split.csv", dtype=str)
    assert list(anndata.read_h5ad(folder / "features.h5ad").obs_names) == list(split["sample"])


def test_samples_of_training_stay_so_when_the_split_is_drawn_anew(run, biosae):
    """Another seed would call many of them test samples, and every score of theirs would be flattered."""
    folder, where = run
    code, said = biosae("features", *where, "seed=1")
    assert code == 0, said
    assert "samples stay in the part of the split that they had" in said
    part = anndata.read_h5ad(folder / "features.h5ad").obs["biosae_part"].astype(str)
    split = pd.read_csv(folder / "split.csv", dtype=str).set_index("sample")["part"].reindex(part.index)
    known = split.notna()  # another 400 cells were drawn
    assert (part[known] == split[known]).all()
    assert set(part[~known]) == {"train", "validate", "select", "test"}


def test_a_run_without_its_split_is_refused(run, biosae):
    folder, where = run
    (folder / "split.csv").unlink()
    code, said = biosae("features", *where)
    assert code == 1
    assert "split.csv cannot be read" in said and "biosae train" in said
