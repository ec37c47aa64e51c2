"""The example of docs/extending.md, executed."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
import yaml

from biosae.activations.source import ArrayActivations
from biosae.errors import SettingError
from biosae.saes.build import build
from biosae.saes.files import load
from biosae.training.settings import TrainerSettings
from biosae.training.trainer import Trainer, TrainingRun


@pytest.fixture
def config(groupmax) -> dict:
    return yaml.safe_load((groupmax / "sae" / "groupmax.yaml").read_text())


def test_example_is_as_short_as_promised(groupmax):
    assert (groupmax / "groupmax.py").read_text().count("\n") < 80


def test_example_trains_saves_and_loads(config, planted, tmp_path):
    hyperparams = {**config["hyperparams"], "k": 4}
    lr = hyperparams.pop("lr")
    sae = build(config["variant"], 16, 48, hyperparams)
    source = ArrayActivations(planted)
    settings = TrainerSettings(lr=lr, epochs=40, batch_size=128, eval_every=80)
    (metrics,) = Trainer([TrainingRun(sae, settings, tmp_path / "run")], source, source).run()
    assert metrics["fvu"] < 0.3
    codes = load(tmp_path / "run").encode(planted)
    assert (codes.dense().view(-1, 4, 12) > 0).sum(2).max() <= 1
    assert torch.equal(codes.dense(), sae.encode(planted).dense())


def test_example_keeps_the_strongest_of_each_group(config, planted):
    sae = build(config["variant"], 16, 48, {"k": 4})
    sae.fit_normaliser(planted)
    pre = sae.training_forward(planted).pre.dense.detach()
    groups = pre.view(-1, 4, 12)
    expected = torch.relu(groups) * (groups == groups.amax(2, keepdim=True))
    torch.testing.assert_close(sae.encode(planted).dense(), expected.view_as(pre), rtol=0, atol=1e-6)


def test_example_checks_its_setting(config):
    with pytest.raises(SettingError, match="k must divide d_sae=48, got 5"):
        build(config["variant"], 16, 48, {"k": 5})


def test_the_command_of_the_page_trains_it(groupmax, tmp_path):
    small = ["data.n_cells=40", "training.max_tokens=2000", "training.normaliser_tokens=1000", "data.label_keys=[]"]
    words = ["train", "--config-dir", str(groupmax), "sae=groupmax", "sae.hyperparams.k=16", *small]
    path = os.pathsep.join([str(groupmax), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "biosae", *words]
    done = subprocess.run(command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (run,) = tmp_path.glob("runs/0/*")
    assert load(run).config()["k"] == 16
