"""Hashes by which identical samples are recognised: 8 bytes each, whatever the size of the samples."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np

from .vectors import Vectors

NUMBERS_PER_BLOCK = 1 << 20


def hashes_of_sequences(sequences: Iterable[str]) -> np.ndarray:
    """``(n,) uint64`` equal for equal sequences of amino acids, in upper or lower case."""
    return np.array([_hash(sequence.upper().encode()) for sequence in sequences], dtype=np.uint64)


def hashes_of_vectors(vectors: Vectors) -> np.ndarray:
    """``(n,) uint64`` equal for proteins whose stored embeddings are equal number by number; reads them once."""
    ends = np.cumsum(vectors.n_rows)
    found = []
    block = ends // max(1, NUMBERS_PER_BLOCK // vectors.d)
    for rows in np.split(np.arange(len(ends)), np.flatnonzero(np.diff(block)) + 1):
        stored = vectors.read(rows)
        found += [_hash(own.tobytes()) for own in np.split(stored, np.cumsum(vectors.n_rows[rows])[:-1])]
    return np.array(found, dtype=np.uint64)


def hashes_of_tokens(token: np.ndarray, value: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """``(n_samples,) uint64`` equal for samples of the same tokens with the same values, in any order.

    A sample without tokens has 0: it is a copy of nothing.

    Parameters
    ----------
    token, value
        ``(n_tokens,)`` ids and input values, samples one after the other; they may be memory-mapped.
    offsets
        ``(n_samples + 1,)`` sample ``i`` owns tokens ``offsets[i]:offsets[i + 1]``.
    """
    n_samples = len(offsets) - 1
    found = np.zeros(n_samples, dtype=np.uint64)
    first = 0
    while first < n_samples:
        end = int(np.searchsorted(offsets, offsets[first] + NUMBERS_PER_BLOCK, side="right")) - 1
        end = min(max(end, first + 1), n_samples)
        start = int(offsets[first])
        own = slice(start, int(offsets[end]))
        mixed = _mixed(np.asarray(token[own]), np.asarray(value[own]))
        lengths = np.diff(offsets[first : end + 1])
        occupied = np.flatnonzero(lengths)
        if len(occupied):
            sums = np.add.reduceat(mixed, offsets[first:end][occupied] - start)
            found[first + occupied] = np.maximum(sums, np.uint64(1))
        first = end
    return found


def _mixed(token: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Return a well mixed number of each token and its value (the finaliser of SplitMix64)."""
    bits = np.ascontiguousarray(value, dtype=np.float32).view(np.uint32).astype(np.uint64)
    mixed = (token.astype(np.uint64) << np.uint64(32)) + bits + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def _hash(content: bytes) -> int:
    return max(1, int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little"))
