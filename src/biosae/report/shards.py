"""Data as scripts: a page opened from disk may load scripts but not fetch files.

A shard is one line, ``biosae.receive("name", "<base64 of gzipped JSON>");``. Base64 has neither ``<``
nor quotes, so that no text of a stranger's file can end the script or the element around it.
"""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any

import numpy as np

DTYPES = {"u1": np.uint8, "u2": np.uint16, "u4": np.uint32, "i4": np.int32, "f4": np.float32}


def packed(values: np.ndarray, dtype: str) -> dict[str, str]:
    """An array as the page unpacks it: flat, little-endian, ``dtype`` one of `DTYPES`.

    A packed float may be NaN, which JSON cannot say.
    """
    array = np.ascontiguousarray(values, dtype=np.dtype(DTYPES[dtype]).newbyteorder("<"))
    return {"dtype": dtype, "base64": base64.b64encode(array.tobytes()).decode()}


def packed_ragged(parts: list[np.ndarray], dtype: str) -> dict[str, str]:
    """Arrays of different lengths, end to end."""
    return packed(np.concatenate(parts) if parts else np.empty(0), dtype)


def offsets(parts: list[np.ndarray]) -> dict[str, str]:
    """Where each of the arrays of `packed_ragged` begins, and where the last ends."""
    return packed(np.cumsum([0, *map(len, parts)]), "u4")


def script(name: str, content: dict[str, Any]) -> str:
    """The line of JavaScript that hands ``content`` to the page."""
    text = json.dumps(content, allow_nan=False, separators=(",", ":"))
    data = base64.b64encode(gzip.compress(text.encode(), compresslevel=6, mtime=0)).decode()
    return f'biosae.receive("{name}", "{data}");\n'


def number(value: Any) -> float | None:
    """A number as JSON takes it: None for NaN, infinity and None."""
    return float(value) if value is not None and np.isfinite(value) else None
