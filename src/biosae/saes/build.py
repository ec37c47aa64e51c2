"""An SAE from the name of its variant and its settings, both checked before anything is made."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from numbers import Real
from typing import Any

from biosae.errors import SettingError
from biosae.registry import Registry, nearest

from .architecture import PLAIN, Architecture
from .base import SAE

VARIANTS = Registry(
    "SAE variant",
    {
        "batchtopk": "biosae.saes.variants.batchtopk:BatchTopK",
        "gated": "biosae.saes.variants.gated:Gated",
        "gatedanneal": "biosae.saes.variants.gatedanneal:GatedAnneal",
        "gumbeltopk": "biosae.saes.variants.gumbeltopk:GumbelTopK",
        "jumprelu": "biosae.saes.variants.jumprelu:JumpReLU",
        "matryoshka": "biosae.saes.variants.matryoshka:Matryoshka",
        "panneal": "biosae.saes.variants.panneal:PAnneal",
        "standard": "biosae.saes.variants.standard:Standard",
        "topk": "biosae.saes.variants.topk:TopK",
    },
    entry_points="biosae.variants",
)

SHARED = ("d_in", "d_sae", "seed", "architecture")


def build(
    variant: str,
    d_in: int,
    d_sae: int,
    hyperparams: Mapping[str, Any],
    seed: int = 0,
    architecture: Architecture = PLAIN,
) -> SAE:
    """A freshly initialised SAE.

    Parameters
    ----------
    variant
        Name in `VARIANTS`, such as ``topk``.
    hyperparams
        The variant's own settings; unknown or missing ones raise `SettingError`.
    """
    kind = VARIANTS.get(variant)
    _check_names(kind, hyperparams)
    return kind(d_in=d_in, d_sae=d_sae, seed=seed, architecture=architecture, **hyperparams)


def _check_names(variant: type[SAE], hyperparams: Mapping[str, Any]) -> None:
    parameters = inspect.signature(variant).parameters
    own = {name: p for name, p in parameters.items() if name not in SHARED}
    for name in hyperparams:
        if name not in own:
            raise SettingError(f"{variant.__name__} has no hyperparameter {name}; {nearest(name, own)}")
        if own[name].annotation in ("int", "float") and not isinstance(hyperparams[name], Real):
            raise SettingError(f"{name} must be a number, got {hyperparams[name]}")
    missing = [name for name, p in own.items() if p.default is p.empty and name not in hyperparams]
    if missing:
        raise SettingError(f"{variant.__name__} needs the hyperparameter {missing[0]}")
