"""Settings of a variant: a frozen dataclass whose fields declare the values that they take.

    @dataclass(frozen=True)
    class Settings:
        k: FeatureCount
        auxk_coefficient: Coefficient = 1 / 32

A field is annotated with one of the types below, with ``Literal["one", "other"]``, or with ``Annotated[type, check]``
where ``check(name, value, d_sae)`` returns the value or raises `SettingError`. Fields of other
types take any value, but numbers only where the type is int or float.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from math import inf
from numbers import Real
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from biosae.errors import SettingError
from biosae.registry import nearest


def check_at_least(name: str, value: float, lowest: float) -> None:
    """Raise unless a setting is a finite number no smaller than ``lowest``."""
    if not lowest <= value < inf:
        finite = " and finite" if value == inf else ""
        raise SettingError(f"{name} must be at least {lowest}{finite}, got {value}", argument=name)


UNKNOWN_SIZE = 1 << 40
"""Number of features of an SAE whose width is not known yet, when its settings are checked before data are read."""


def _features(name: str, value: float, d_sae: int) -> int:
    if not 1 <= value <= d_sae or value % 1:
        limit = "d_sae" if d_sae == UNKNOWN_SIZE else f"d_sae={d_sae}"
        raise SettingError(f"{name} must be a whole number between 1 and {limit}, got {value}", argument=name)
    return int(value)


def _not_negative(name: str, value: float, d_sae: int) -> float:
    check_at_least(name, value, 0)
    return value


def _share(name: str, value: float, d_sae: int) -> float:
    if not 0 <= value <= 1:
        raise SettingError(f"{name} must be between 0 and 1, got {value}", argument=name)
    return value


def _above_zero(name: str, value: float, highest: float) -> float:
    if not 0 < value <= highest:
        raise SettingError(f"{name} must be above 0 and at most {highest}, got {value}", argument=name)
    return value


FeatureCount = Annotated[int, _features]
"""A whole number from 1 to ``d_sae``."""

MeanFeatureCount = Annotated[float, _above_zero]
"""A number above 0, at most ``d_sae``."""

Coefficient = Annotated[float, _not_negative]
"""A finite number of at least 0."""

Fraction = Annotated[float, _share]
"""A share of the run, 0 to 1."""

Power = Annotated[float, lambda name, value, d_sae: _above_zero(name, value, 1)]
"""A number above 0, at most 1."""

Width = Annotated[float, lambda name, value, d_sae: _above_zero(name, value, inf)]
"""A number above 0."""

StepCount = Annotated[int | None, _not_negative]
"""A number of steps of at least 0, or None."""


def make_settings(kind: type, values: Mapping[str, Any], d_sae: int, variant: str) -> Any:
    """Return settings of a variant.

    Parameters
    ----------
    kind
        The variant's dataclass of settings.
    values
        By name; those with a default may be absent.
    d_sae
        Number of features, which bounds some settings.
    variant
        Name of the variant, for messages.

    Raises
    ------
    SettingError
        If a setting is unknown, missing or outside its range.
    """
    types = get_type_hints(kind, include_extras=True)
    check_names(kind, values, variant)
    return kind(**{name: _checked(name, value, types[name], d_sae) for name, value in values.items()})


def check_names(kind: type, names: Mapping[str, Any], variant: str) -> None:
    """Raise `SettingError` for a name that is not a setting, or a setting without default that is not named."""
    known = {field.name: field.default is MISSING for field in fields(kind)}
    for name in names:
        if name not in known:
            raise SettingError(f"{variant} has no hyperparameter {name}; {nearest(name, known)}", argument=name)
    for name, is_needed in known.items():
        if is_needed and name not in names:
            raise SettingError(f"{variant} needs the hyperparameter {name}", argument=name)


def _checked(name: str, value: Any, annotation: Any, d_sae: int) -> Any:
    kind, *checks = get_args(annotation) if get_origin(annotation) is Annotated else [annotation]
    if get_origin(kind) is Literal and value not in get_args(kind):
        raise SettingError(f"{name} must be {' or '.join(get_args(kind))}, got {value}", argument=name)
    kinds = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    if value is None and type(None) in kinds:
        return None
    if {int, float}.intersection(kinds) and not isinstance(value, Real):
        raise SettingError(f"{name} must be a number, got {value}", argument=name)
    for check in checks:
        value = check(name, value, d_sae)
    return value
