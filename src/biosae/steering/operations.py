"""What steering does to the codes of its features: pure functions, codes in, codes out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from biosae.errors import SettingError

Operation = Callable[[Tensor, Tensor], Tensor]
"""``(n_tokens, n_features)`` codes and ``(n_features,)`` amounts to the codes after the edit."""


def clamp(codes: Tensor, amount: Tensor) -> Tensor:
    """Every code becomes the amount, which may be negative: against the feature's direction."""
    return amount.to(codes).expand_as(codes)


def scale(codes: Tensor, amount: Tensor) -> Tensor:
    """Every code is multiplied by the amount."""
    return codes * amount.to(codes)


def add(codes: Tensor, amount: Tensor) -> Tensor:
    """The amount is added to every code."""
    return codes + amount.to(codes)


def ablate(codes: Tensor, amount: Tensor) -> Tensor:
    """Every code becomes 0, whatever the amount."""
    return torch.zeros_like(codes)


OPERATIONS: dict[str, Operation] = {"clamp": clamp, "scale": scale, "add": add, "ablate": ablate}
UNITS = ("scale", "absolute")
WHERE = ("all", "active")
IN_CODE_UNITS = ("clamp", "add")
"""Operations whose amount is a code; the others' is a factor or nothing."""


def edited_codes(codes: Tensor, operation: str, amount: Tensor, where: str) -> Tensor:
    """Codes after an operation on ``all`` tokens, or only on those where the feature is ``active``."""
    edited = OPERATIONS[operation](codes, amount)
    return torch.where(codes > 0, edited, codes) if where == "active" else edited


def amounts(operation: str, value: float, unit: str, features: np.ndarray, active_scale: np.ndarray) -> np.ndarray:
    """``(n_features,) float64`` amount of each feature: the value, or the value times the feature's own scale.

    Parameters
    ----------
    active_scale
        ``(d_sae,)`` mean code of each feature where it is active; NaN for one that never is.

    Raises
    ------
    SettingError
        If a feature has no scale to measure in.
    """
    if operation not in IN_CODE_UNITS or unit == "absolute" or value == 0:
        return np.full(len(features), float(value))
    scales = active_scale[features]
    if np.isnan(scales).any():
        silent = int(features[np.isnan(scales)][0])
        message = f"feature {silent} is never active on the train and select samples, so it has no scale of its own"
        raise SettingError(f"{message}; leave it out or set steer.unit=absolute")
    return value * scales
