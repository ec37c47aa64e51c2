"""Settings that several adapters share, checked where they enter."""

from __future__ import annotations

from collections.abc import Sequence

from biosae.errors import SettingError


def check_choice(setting: str, value: str, choices: Sequence[str]) -> str:
    """The value, or an error that lists what it may be."""
    if value not in choices:
        raise SettingError(f"{setting} must be one of {', '.join(choices)}, got {value}")
    return value


def check_limit(setting: str, value: int | None, limit: int, model: str) -> int:
    """The value, or the limit when none is given."""
    if value is not None and not 1 <= value <= limit:
        raise SettingError(f"{setting} must be between 1 and {limit} for {model}, got {value}")
    return value or limit
