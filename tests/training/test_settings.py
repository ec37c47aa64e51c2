from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
from omegaconf import OmegaConf

import biosae.cli.config
from biosae.errors import SettingError
from biosae.training.settings import TrainerSettings


def test_default_yaml_names_every_field_but_lr():
    path = Path(biosae.cli.config.__file__).parent / "training" / "default.yaml"
    config = OmegaConf.merge({"experiment": {"eval_steps": 50}}, {"training": OmegaConf.load(path)})
    content = OmegaConf.to_container(config.training, resolve=True)
    assert set(content) == {field.name for field in fields(TrainerSettings)} - {"lr"}
    TrainerSettings(lr=1e-3, **content)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lr": 0}, "lr must be above 0, or null, got 0"),
        ({"lr": float("nan")}, "lr must be above 0, or null, got nan"),
        ({"epochs": 0}, "epochs must be a whole number of at least 1, got 0"),
        ({"epochs": 1.5}, "epochs must be a whole number of at least 1, got 1.5"),
        ({"batch_size": 0}, "batch_size must be"),
        ({"batch_size": float("inf")}, "batch_size must be"),
        ({"max_tokens": 0}, "max_tokens must be"),
        ({"warmup_fraction": -0.1}, "warmup_fraction must be between 0 and 1"),
        ({"warmup_fraction": 0.6, "decay_fraction": 0.6}, "at most 1"),
        ({"precision": "fp8"}, "one of fp32, bf16, fp16, got fp8"),
        ({"decay": "step"}, "one of linear, cosine, got step"),
        ({"max_grad_norm": -1}, "max_grad_norm must be above 0"),
    ],
)
def test_bad_settings_are_one_clear_line(settings, changes, message):
    with pytest.raises(SettingError, match=message):
        settings(**changes)


@pytest.mark.parametrize(
    ("changes", "steps", "tokens"),
    [
        ({"epochs": 2, "batch_size": 30}, 8, 200),  # 30 + 30 + 30 + 10, twice
        ({"max_tokens": 60, "batch_size": 30}, 2, 60),
        ({"max_tokens": 130, "batch_size": 30}, 5, 130),
        ({"max_tokens": 101, "batch_size": 30}, 5, 101),
    ],
)
def test_length_of_a_run(settings, changes, steps, tokens):
    made = settings(**changes)
    assert made.total_steps(100) == steps
    assert made.total_tokens(100) == tokens


@pytest.mark.parametrize("name", ["epochs", "max_tokens", "batch_size", "eval_every", "normaliser_tokens", "patience"])
def test_counts_written_as_decimals_are_whole_numbers(settings, name):
    """3e4 is a float, and torch wants sizes that are integers."""
    made = getattr(settings(**{name: 3e4}), name)
    assert (made, type(made)) == (30_000, int)
