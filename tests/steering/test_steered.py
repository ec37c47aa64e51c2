import json
from types import SimpleNamespace

import anndata
import numpy as np
import pandas as pd
import pytest
import torch

from biosae.errors import ArtefactError
from biosae.steering.edit_settings import Dose, Setting
from biosae.steering.edits import FeatureEdit
from biosae.steering.steered import with_settings, write_steered
from biosae.steering.steered_files import read_steered

OBS = pd.DataFrame({"batch": list("aabb")}, index=[f"s{i}" for i in range(4)])
EDIT = FeatureEdit(torch.tensor([1, 5]), "ablate", torch.zeros(2, dtype=torch.float64))
SETTING = Setting("sae", "ablate 2 features", EDIT, EDIT, Dose("ablate", 0.0, "scale"), "label:batch/ami")


@pytest.fixture
def context(make_context):
    uns = {"biosae": {"sae_hash": "x", "model": "curved"}}
    return make_context(None, None, anndata.AnnData(obs=OBS, uns=uns))


def test_the_file_is_aligned_and_says_what_each_setting_is(context):
    path, rows = context.folder / "steered.h5ad", np.array([1, 3])
    each = [("original", rows, np.ones((2, 3))), ("s000", rows, np.full((2, 3), 2.0))]
    plan = SimpleNamespace(is_perturbation=False, parts=("test",), target=None)
    write_steered(context, plan, SimpleNamespace(settings={"s000": SETTING}, each=lambda: iter(each)))
    steered, settings = read_steered(path)
    assert steered.shape == (4, 0) and list(steered.obs_names) == list(OBS.index)
    assert steered.obsm["s000"].dtype == np.float32
    assert np.isnan(steered.obsm["s000"][[0, 2]]).all() and (steered.obsm["s000"][rows] == 2).all()
    assert settings.loc[0, "key"] == "s000" and settings.loc[0, "features"] == [1, 5]
    assert list(steered.uns["biosae"]["samples"]) == ["test"]
    (described,) = json.loads(anndata.read_h5ad(path).uns["biosae"]["settings"])
    assert list(described) == [
        *("key", "method", "label", "chooser", "n_features", "operation", "value", "unit"),
        *("where", "error", "seed", "features", "amount", "target"),
    ]


def test_tables_say_what_each_setting_is():
    table = pd.DataFrame({"key": ["original", "s000"], "estimate": [0.0, 1.0]})
    original, setting = with_settings(table, {"s000": SETTING}).to_dict("records")
    assert original["method"] == "original" and pd.isna(original["n_features"])
    assert (setting["method"], setting["chooser"], setting["n_features"]) == ("sae", "label:batch/ami", 2)
    assert list(setting)[-1] == "estimate" and "label" not in setting


@pytest.mark.parametrize("content", [None, b"nothing"])
def test_a_file_that_is_missing_or_damaged_names_the_stage(tmp_path, content):
    if content is not None:
        (tmp_path / "steered.h5ad").write_bytes(content)
    with pytest.raises(ArtefactError, match="with the steer stage"):
        read_steered(tmp_path / "steered.h5ad")


def test_another_format_is_refused(tmp_path):
    anndata.AnnData(obs=OBS).write_h5ad(tmp_path / "steered.h5ad")
    with pytest.raises(ArtefactError, match="steered.h5ad is not a file of biosae"):
        read_steered(tmp_path / "steered.h5ad")
