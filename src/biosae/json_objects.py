"""JSON objects that are checked once, where they are read: their keys, and the types of the values."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

COUNT = range(1 << 62)
"""A whole number of at least 0."""

SIZE = range(1, 1 << 31)
"""A whole number of at least 1, of a size that a tensor can have."""

WORDS = {str: "a text", int: "a whole number", float: "a number", dict: "an object", list: "a list", None: "null"}


def read_object(path: Path, expected: Mapping | None = None) -> dict[str, Any]:
    """Return the object in a JSON file, with the keys that a reader needs.

    Parameters
    ----------
    expected
        See `misfit`.

    Raises
    ------
    OSError
        If the file cannot be opened.
    ValueError
        If it is no JSON, holds no object, or the object is not as expected.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"), parse_float=_finite)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(content, dict):
        raise ValueError(f"it must hold a JSON object, got {type(content).__name__}")
    if found := misfit(content, expected or {}):
        raise ValueError(found)
    return content


def misfit(content: Any, expected: Any, name: str = "") -> str | None:
    """Return what is wrong with a value, or None.

    Parameters
    ----------
    expected
        A type; ``int`` and ``float`` leave out booleans, and an int is a float. ``None``. A range of whole numbers. A
        tuple of alternatives. A list with the one thing that all entries are. A mapping of the keys of an object,
        where a key that may be absent ends in ``?``, and the key ``str`` stands for all keys.
    name
        The dotted name of the value, for the answer.
    """
    if isinstance(expected, tuple):
        found = [misfit(content, one, name) for one in expected]
        return None if None in found else found[0]
    if isinstance(expected, Mapping):
        return _misfit_object(content, expected, name)
    if isinstance(expected, list):
        entries = content if isinstance(content, list) else None
        return _wrong(name, list, content) if entries is None else _first(misfit(e, *expected, name) for e in entries)
    return None if _is(content, expected) else _wrong(name, expected, content)


def _misfit_object(content: Any, expected: Mapping, name: str) -> str | None:
    if not isinstance(content, Mapping):
        return _wrong(name, dict, content)
    if str in expected:
        return _first(misfit(value, expected[str], f"{name}.{key}") for key, value in content.items())
    for key, kind in expected.items():
        own = key.removesuffix("?")
        where = f"{name}.{own}" if name else own
        if own not in content:
            if own == key:
                return f"it lacks {where}"
        elif found := misfit(content[own], kind, where):
            return found
    return None


def _is(content: Any, kind: type | range | None) -> bool:
    if isinstance(kind, range):
        return type(content) is int and content in kind
    if kind is int:
        return type(content) is int and abs(content) < 1 << 63
    if kind is float:
        return type(content) in (int, float)
    return content is None if kind is None else isinstance(content, kind)


def _wrong(name: str, kind: type | range | None, content: Any) -> str:
    words = f"a whole number of at least {kind.start}" if isinstance(kind, range) else WORDS.get(kind, str(kind))
    shown = json.dumps(content)
    return f"{name or 'it'} must be {words}, got {shown if len(shown) <= 60 else shown[:57] + '...'}"


def _first(found: Any) -> str | None:
    return next(filter(None, found), None)


def _finite(digits: str) -> float:
    if math.isinf(number := float(digits)):
        raise ValueError(f"the number {digits[:20]} is too large")
    return number
