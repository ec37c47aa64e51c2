"""Operations on codes: what steering, and `SAE.edit`, do to features."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from biosae.errors import SettingError
from biosae.feature_names import feature_number

from .codes import Codes

if TYPE_CHECKING:
    from .base import SAE

NOTHING: Mapping[int | str, float] = MappingProxyType({})

OPERATIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "clamp": lambda codes, amount: amount.expand_as(codes),
    "scale": lambda codes, amount: codes * amount,
    "add": lambda codes, amount: codes + amount,
    "ablate": lambda codes, amount: torch.zeros_like(codes),
}
"""Codes ``(n_tokens, n_features)`` and amounts ``(n_features,)`` to the codes after the edit, which may be negative."""


def edited_codes(codes: Tensor, operation: str, amount: Tensor, where: str = "all") -> Tensor:
    """Apply an operation on ``all`` tokens, or only on those where the feature is ``active``."""
    # Two steps: not every device holds the float64 of amounts.
    edited = OPERATIONS[operation](codes, amount.to(codes.dtype).to(codes.device))
    return torch.where(codes > 0, edited, codes) if where == "active" else edited


def code_changes(asked: Mapping[str, Mapping[int | str, float]], codes: Codes) -> tuple[Tensor, Tensor]:
    """Return the features that are edited, and ``(n, n_features)`` by how much their codes change.

    Parameters
    ----------
    asked
        Operation to features with their amounts.

    Raises
    ------
    SettingError
        If a feature does not exist, or is named twice.
    """
    named = [(op, feature_number(f, codes.d_sae), value) for op, of in asked.items() for f, value in of.items()]
    features = torch.tensor([feature for _, feature, _ in named], dtype=torch.long, device=codes.values.device)
    if len(features.unique()) < len(features):
        raise SettingError(f"a feature can be edited once, got {sorted(features.tolist())}", argument="feature")
    before = codes.of(features)
    after = [
        edited_codes(column, operation, torch.tensor(value))
        for (operation, _, value), column in zip(named, before.unbind(1), strict=True)
    ]
    return features, torch.stack(after, 1) - before if after else before


def movement(sae: SAE, change: Tensor, features: Tensor, x: Tensor) -> Tensor:
    """Return by how much activations move, ``(n, d_in)``, when codes of some features change.

    Parameters
    ----------
    change
        ``(n, n_features)`` change of the codes.
    x
        ``(n, d_in)`` the activations.
    """
    moved = change @ sae.W_dec[features]  # normalised units
    return sae.denormalise(moved, x) - sae.denormalise(torch.zeros_like(moved), x)
