"""Checks of settings that variants share."""

from __future__ import annotations

from math import inf

from biosae.errors import SettingError


def check_at_least(name: str, value: float, lowest: float) -> None:
    """Raises unless a setting is a finite number no smaller than ``lowest``."""
    if not lowest <= value < inf:
        raise SettingError(f"{name} must be at least {lowest}{' and finite' if value == inf else ''}, got {value}")


def checked_k(k: float, d_sae: int) -> int:
    """``k`` as an integer, where that many features can be chosen among ``d_sae``."""
    if not 1 <= k <= d_sae or k % 1:
        raise SettingError(f"k must be a whole number between 1 and d_sae={d_sae}, got {k}")
    return int(k)


def check_fraction(name: str, value: float) -> None:
    """Raises unless a setting is a share, 0 to 1."""
    if not 0 <= value <= 1:
        raise SettingError(f"{name} must be between 0 and 1, got {value}")


def check_above_zero(name: str, value: float, highest: float) -> None:
    """Raises unless a setting is above 0 and no larger than ``highest``."""
    if not 0 < value <= highest:
        raise SettingError(f"{name} must be above 0 and at most {highest}, got {value}")
