"""Nested dictionaries: the first features alone, then more of them, then all."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise

from torch import Tensor

from biosae.errors import SettingError

from .base import Forward


def prefix_widths(fractions: Sequence[float], d_sae: int) -> list[int]:
    """Number of features up to and with each group, from the groups' shares of ``d_sae``."""
    if not fractions or min(fractions) <= 0 or abs(sum(fractions) - 1) > 1e-6:
        raise SettingError(f"group_fractions must be positive and sum to 1, got {list(fractions)}")
    widths = [round(d_sae * share) for share in accumulate(fractions)]
    if 0 in widths or len(set(widths)) < len(widths):
        raise SettingError(f"group_fractions {list(fractions)} leave a group of d_sae={d_sae} features empty")
    return widths


def nested_loss(forward: Forward, widths: Sequence[int], W_dec: Tensor, b_dec: Tensor) -> Tensor:
    """Mean over prefixes of the squared error of the reconstruction by the first ``width`` features."""
    reconstruction, losses = b_dec.expand_as(forward.x), []
    for start, stop in pairwise([0, *widths]):
        reconstruction = reconstruction + forward.codes.features(start, stop).decode(W_dec)
        losses.append(forward.error(reconstruction))
    return sum(losses) / len(losses)
