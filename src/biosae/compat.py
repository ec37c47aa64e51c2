"""Files that earlier versions of biosae wrote."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

NAMES = {
    "biosae.models.esm2.load_esm2": {"loader": "esm2"},
    "biosae.models.geneformer.load_geneformer": {"loader": "geneformer"},
    "biosae.models.scfoundation.load_scfoundation": {"loader": "scfoundation"},
    "biosae.models.scgpt.load_scgpt": {"loader": "scgpt"},
    "biosae.saes.batchtopk.BatchTopK": {"variant": "batchtopk"},
    "biosae.saes.gated.Gated": {"variant": "gated"},
    "biosae.saes.gatedanneal.GatedAnneal": {"variant": "gatedanneal"},
    "biosae.saes.gumbeltopk.GumbelTopK": {"variant": "gumbeltopk"},
    "biosae.saes.jumprelu.JumpReLU": {"variant": "jumprelu"},
    "biosae.saes.matryoshka.Matryoshka": {"variant": "matryoshka"},
    "biosae.saes.panneal.PAnneal": {"variant": "panneal"},
    "biosae.saes.standard.Standard": {"variant": "standard"},
    "biosae.saes.topk.TopK": {"variant": "topk"},
    "biosae.training.tracker.NoTracker": {"kind": "csv"},
    "biosae.training.tracker.TensorboardTracker": {"kind": "tensorboard"},
    "biosae.training.tracker.WandbTracker": {"kind": "wandb"},
}
"""Before 0.2 settings named classes and functions by their path, as ``_target_``."""


def with_names(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings with the name of a model, variant or tracker of ours in place of its path.

    A path that is not exactly one of ours stays.
    """
    rest = {key: value for key, value in settings.items() if key != "_target_"}
    target = settings.get("_target_")
    known = NAMES.get(target) if isinstance(target, str) else None
    return dict(settings) if known is None else known | rest


REMOVED: dict[str, dict[str, Any]] = {
    "analysis": {"prerank": False},
    "training": {"average_window_fraction": 0.0, "bias_start": "mean", "resample_at": [], "shard_dictionary": False},
}
"""Section of config.yaml -> settings that earlier versions had, with their defaults."""


def current_settings(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the sections of a config.yaml of any version as this version names them."""
    sections = {name: with_names(value) if isinstance(value, dict) else value for name, value in content.items()}
    for name, keys in REMOVED.items():
        if isinstance(sections.get(name), dict):
            sections[name] = {key: value for key, value in sections[name].items() if key not in keys}
    return sections
