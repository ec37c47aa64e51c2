"""Checks of arguments that several adapters take."""

from __future__ import annotations

from collections.abc import Sequence

from biosae.errors import SettingError


def check_choice(argument: str, value: str, choices: Sequence[str]) -> str:
    """Return the value of an argument, or raise `SettingError` that lists its choices."""
    if value not in choices:
        raise SettingError(f"{argument} must be one of {', '.join(choices)}, got {value}", argument)
    return value


def check_limit(argument: str, value: int | None, limit: int, model: str) -> int:
    """Return the value of an argument, or the limit when None is given."""
    if value is not None and not 1 <= value <= limit:
        raise SettingError(f"{argument} must be between 1 and {limit} for {model}, got {value}", argument)
    return value or limit
