"""Construction of an SAE from the name of its variant and its settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from biosae.registry import Registry

from .architecture import PLAIN, Architecture
from .base import SAE
from .settings import check_names

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


def build(
    variant: str,
    d_in: int,
    d_sae: int,
    hyperparams: Mapping[str, Any],
    seed: int = 0,
    architecture: Architecture = PLAIN,
) -> SAE:
    """Return a freshly initialised SAE.

    Parameters
    ----------
    variant
        Name in `VARIANTS`, such as ``topk``.
    hyperparams
        Settings of the variant, by name.

    Raises
    ------
    SettingError
        If the variant or a setting is unknown, or a setting is missing or outside its range.
    """
    kind = VARIANTS.get(variant)
    check_names(kind.Settings, hyperparams, kind.__name__)  # which also keeps them apart from the other arguments
    return kind(d_in, d_sae, seed=seed, architecture=architecture, **hyperparams)
