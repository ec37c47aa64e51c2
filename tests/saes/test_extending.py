"""The example of docs/extending.md, executed."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import torch
import yaml

from biosae.activations.source import ArrayActivations
from biosae.errors import SettingError
from biosae.registry import load_plugins
from biosae.saes.build import build
from biosae.saes.files import load
from biosae.training.settings import TrainerSettings
from biosae.training.trainer import Trainer, TrainingRun

PAGE = Path(__file__).resolve().parents[2] / "docs" / "extending.md"


@pytest.fixture
def blocks() -> dict[str, str]:
    return dict(re.findall(r"```(python|yaml)\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL))


@pytest.fixture
def config(blocks, tmp_path, monkeypatch) -> dict:
    """The page's YAML, with the page's module loaded as a plugin."""
    (tmp_path / "groupmax.py").write_text(blocks["python"])
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("BIOSAE_PLUGINS", "groupmax")
    load_plugins()
    yield yaml.safe_load(blocks["yaml"])
    sys.modules.pop("groupmax", None)


def test_example_is_as_short_as_promised(blocks):
    assert blocks["python"].count("\n") < 80


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
