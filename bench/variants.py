"""Variants as their YAMLs have them, trained with some of their settings changed."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

import biosae.cli.config
from biosae.activations.source import ActivationSource
from biosae.saes.build import build
from biosae.training.settings import TrainerSettings
from biosae.training.trainer import Trainer, TrainingRun

COUNTS, PENALTIES = (8, 16, 32, 64), (0.1, 0.18, 0.3, 0.5)
GRID = {
    "topk": ("k", COUNTS),
    "batchtopk": ("k", COUNTS),
    "matryoshka": ("k", COUNTS),
    "gumbeltopk": ("k", COUNTS),
    "jumprelu": ("target_l0", COUNTS),
    "standard": ("l1_coefficient", PENALTIES),
    "gated": ("l1_coefficient", PENALTIES),
    "panneal": ("sparsity_coefficient", (0.05, 0.09, 0.16, 0.3)),
    "gatedanneal": ("sparsity_coefficient", (0.07, 0.12, 0.2, 0.35)),
}
"""The setting that decides each variant's sparsity, and values to try."""


def settings_of(name: str) -> dict:
    return yaml.safe_load((Path(biosae.cli.config.__file__).parent / "sae" / f"{name}.yaml").read_text())


def trained(
    name: str,
    changes: Sequence[Mapping],
    training: ActivationSource,
    test: ActivationSource,
    multiplier: float | None = None,
    **settings,
) -> list[dict[str, float]]:
    """Numbers on ``test`` of a variant with each of the changes of its hyperparameters; they learn in one pass.

    Parameters
    ----------
    multiplier
        Features a dimension, by default those of the YAML.
    settings
        Of `TrainerSettings`.
    """
    content = settings_of(name)
    d_sae = round((multiplier or content["dictionary_multiplier"]) * training.d_in)
    with tempfile.TemporaryDirectory() as folder:
        runs = []
        for number, change in enumerate(changes):
            hyperparams = content["hyperparams"] | change
            own = TrainerSettings(lr=hyperparams.pop("lr"), eval_every=10**6, **settings)
            sae = build(content["variant"], training.d_in, d_sae, hyperparams)
            runs.append(TrainingRun(sae, own, Path(folder) / str(number)))
        return Trainer(runs, training, test).run()
