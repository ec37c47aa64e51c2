"""Data as scripts: a page opened from disk may load scripts but not fetch files.

A shard is one line, ``biosae.receive("name", "<base64 of gzip>");``. Inside the gzip stand the length of
a JSON text (u4), the text, and the arrays that it refers to, so that the page reads them without unpacking.
Base64 has neither ``<`` nor quotes, so that no text of a stranger's file can end the script or the element around it.
"""

from __future__ import annotations

import base64
import gzip
import json
from dataclasses import dataclass
from typing import Any

import numpy as np

DTYPES = {"u1": np.uint8, "u2": np.uint16, "u4": np.uint32, "i4": np.int32, "f4": np.float32}
ALIGNMENT = 4  # bytes: the page reads arrays where they lie
LEVEL = 4  # of gzip; 6 takes twice as long to save one byte in a hundred


@dataclass(frozen=True, eq=False)
class Packed:
    """A flat, little-endian array that travels as its bytes; ``dtype`` is one of `DTYPES`."""

    dtype: str
    values: np.ndarray


def packed(values: np.ndarray, dtype: str) -> Packed:
    """An array as a shard holds it. A packed float may be NaN, which JSON does not allow."""
    return Packed(dtype, np.ascontiguousarray(values, dtype=np.dtype(DTYPES[dtype]).newbyteorder("<")).ravel())


def packed_ragged(parts: list[np.ndarray], dtype: str) -> Packed:
    """Arrays of different lengths, end to end."""
    return packed(np.concatenate(parts) if parts else np.empty(0), dtype)


def offsets(parts: list[np.ndarray]) -> Packed:
    """Start of each of the arrays of `packed_ragged`, and end of the last."""
    return packed(np.cumsum([0, *map(len, parts)]), "u4")


def script(name: str, content: dict[str, Any]) -> str:
    """The line of JavaScript that hands ``content`` to the page."""
    data = base64.b64encode(gzip.compress(_bytes(content), compresslevel=LEVEL, mtime=0)).decode()
    return f'biosae.receive("{name}", "{data}");\n'


def _bytes(content: dict[str, Any]) -> bytes:
    arrays: list[bytes] = []
    end = 0

    def reference(array: Packed) -> dict[str, Any]:
        nonlocal end
        found = {"dtype": array.dtype, "at": end, "n": len(array.values)}
        arrays.append(_aligned(array.values.tobytes(), b"\0"))
        end += len(arrays[-1])
        return found

    text = json.dumps(content, allow_nan=False, separators=(",", ":"), default=reference)
    head = _aligned(text.encode(), b" ")
    return b"".join([len(head).to_bytes(4, "little"), head, *arrays])


def _aligned(data: bytes, filler: bytes) -> bytes:
    return data + filler * (-len(data) % ALIGNMENT)


def number(value: Any) -> float | None:
    """A number as JSON takes it: None for NaN, infinity and None."""
    return float(value) if value is not None and np.isfinite(value) else None
