"""Settings as nested dicts of plain values, and back."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import asdict, fields, is_dataclass
from typing import Any, get_args, get_type_hints

from biosae.errors import SettingError, arguments_of
from biosae.registry import nearest
from biosae.training.settings import TrainerSettings

from .data_settings import DATA_KINDS, Data
from .settings import Settings


def settings_from(content: Mapping[str, Any]) -> Settings:
    """Return settings from nested mappings of plain values; what is absent has its default.

    Raises
    ------
    SettingError
        If a key is unknown or a value is out of range.
    """
    return _built(Settings, content, "")


def plain(settings: Any) -> Any:
    """Return settings, or a section of them, as dicts and lists of plain values."""
    content = _plain(asdict(settings))
    if isinstance(settings, Settings):
        content["training"].pop("lr")  # stands with the variant: sae.hyperparams
    return content


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _built(kind: type, content: Any, where: str) -> Any:
    if not isinstance(content, Mapping):
        raise SettingError(f"{where} must hold settings by name, got {content}")
    kind = _data_kind(content) if kind is Data else kind
    hints, known = get_type_hints(kind), [f.name for f in fields(kind)]
    values = {}
    for name, value in content.items():
        if name not in known:
            raise SettingError(f"there is no setting {where}{name}; {nearest(str(name), known)}")
        inner = _section(hints[name])
        values[name] = value if inner is None or value is None else _built(inner, value, f"{where}{name}.")
    if kind is TrainerSettings:
        values.setdefault("lr", None)
    with arguments_of(where.rstrip(".")) if where else nullcontext():
        return kind(**values)


def _section(hint: Any) -> type | None:
    """Return the dataclass that a field holds, or None."""
    return next((kind for kind in (hint, *get_args(hint)) if is_dataclass(kind)), None)


def _data_kind(content: Mapping[str, Any]) -> type[Data]:
    kind = content.get("kind", "cells")
    if kind not in DATA_KINDS:
        raise SettingError(f"kind must be one of {', '.join(DATA_KINDS)}, got {kind}", argument="data.kind")
    return DATA_KINDS[kind]
