"""Names of features: ``12`` and ``"f12"`` are the same one."""

from __future__ import annotations

from operator import index
from typing import SupportsIndex

from biosae.errors import SettingError


def feature_number(feature: SupportsIndex | str, d_sae: int) -> int:
    """Return the number of a feature that is given by its number or by its name.

    Raises
    ------
    SettingError
        If it is neither, or there is none of that number.
    """
    try:
        number = int(feature[1:]) if isinstance(feature, str) and feature[:1] == "f" else index(feature)
    except (TypeError, ValueError):
        raise SettingError(
            f"feature is a number such as 12, or a name such as f12, got {feature!r}", "feature"
        ) from None
    if not 0 <= number < d_sae:
        raise SettingError(f"feature must lie between 0 and {d_sae - 1}, got {feature}", "feature")
    return number
