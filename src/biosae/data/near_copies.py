"""Groups of near-identical sequences, found by the k-mers that they share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

K = 5
"""Residues of a k-mer: 3.2 million of them, so that unrelated proteins share few."""

N_ROWS, N_BANDS = 2, 24
"""Min-hashes of a band, and bands: a pair that shares half of its k-mers agrees in one with probability 0.999."""

LETTERS_PER_BLOCK = 1 << 20


def near_copies(sequences: Sequence[str], shared: float) -> np.ndarray:
    """``(n,) int64`` number of the group of each sequence: the row of its first member.

    Two sequences are near copies when they share at least this part of all k-mers of either (Jaccard index); groups
    are what such pairs connect. Half of the 5-mers is about 92 % identity. Candidates are pairs that agree in a band of
    min-hashes (Broder 1997), and each is then compared exactly, so that a pair can be missed but none is wrong.

    Parameters
    ----------
    sequences
        Amino acids, in upper or lower case. Those shorter than a k-mer are near copies of equal ones only.
    shared
        Between 0 and 1; at 1 the same k-mers.
    """
    if not len(sequences):
        return np.zeros(0, dtype=np.int64)
    upper = [sequence.upper() for sequence in sequences]
    kmers: dict[int, frozenset[str]] = {}

    def of(row: int) -> frozenset[str]:
        if row not in kmers:
            text = upper[row]
            kmers[row] = frozenset(text[at : at + K] for at in range(max(1, len(text) - K + 1)))
        return kmers[row]

    pairs = [(first, second) for first, second in _candidates(upper) if jaccard(of(first), of(second)) >= shared]
    rows = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    n = len(sequences)
    graph = coo_matrix((np.ones(len(rows)), (rows[:, 0], rows[:, 1])), shape=(n, n))
    label = connected_components(graph, directed=False)[1]
    first_of_label = np.full(label.max(initial=-1) + 1, n)
    np.minimum.at(first_of_label, label, np.arange(n))
    return first_of_label[label]


def jaccard(first: frozenset[str], second: frozenset[str]) -> float:
    """Return the shared part of the k-mers of either."""
    return len(first & second) / len(first | second)


def _candidates(sequences: Sequence[str]) -> set[tuple[int, int]]:
    """Pairs that agree in a band, each with the first of its bucket and with the one before it."""
    signature = _signatures(sequences)
    found: set[tuple[int, int]] = set()
    for band in range(N_BANDS):
        rows = signature[:, band * N_ROWS : (band + 1) * N_ROWS]
        key = rows[:, 0] * np.uint64(0x9E3779B97F4A7C15) + rows[:, 1]
        order = np.argsort(key, kind="stable")
        starts = np.flatnonzero(np.diff(key[order], prepend=key[order][:1] - np.uint64(1)))
        sizes = np.diff(np.append(starts, len(order)))
        for start, size in zip(starts[sizes > 1].tolist(), sizes[sizes > 1].tolist(), strict=True):
            bucket = order[start : start + size].tolist()
            found.update((bucket[0], row) for row in bucket[1:])
            found.update(zip(bucket[1:-1], bucket[2:], strict=True))
    return found


def _signatures(sequences: Sequence[str]) -> np.ndarray:
    """``(n, N_BANDS * N_ROWS) uint64``, the least hash of a sequence's k-mers under each of as many hash functions."""
    multipliers = np.random.default_rng(0).integers(1 << 62, size=N_BANDS * N_ROWS, dtype=np.uint64) * 2 + 1
    out = np.empty((len(sequences), len(multipliers)), dtype=np.uint64)
    for first, block in _blocks(sequences):
        hashed, starts = _kmer_hashes(block)
        for n, multiplier in enumerate(multipliers):
            mixed = hashed * multiplier
            mixed ^= mixed >> np.uint64(32)
            out[first : first + len(block), n] = np.minimum.reduceat(mixed * multiplier, starts)
    return out


def _blocks(sequences: Sequence[str]) -> Iterator[tuple[int, Sequence[str]]]:
    ends = np.cumsum([len(sequence) for sequence in sequences])
    borders = np.flatnonzero(np.diff(ends // LETTERS_PER_BLOCK)) + 1
    starts = [0, *borders.tolist()]
    for first, end in zip(starts, [*starts[1:], len(sequences)], strict=True):
        yield first, sequences[first:end]


def _kmer_hashes(sequences: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the k-mers of sequences, one after the other, and where those of each begin.

    A sequence shorter than a k-mer is padded to one.
    """
    padded = [sequence.ljust(K, "\0") for sequence in sequences]
    letters = np.frombuffer("".join(padded).encode("latin-1", "replace"), dtype=np.uint8).astype(np.uint64)
    number = np.zeros(len(letters) - K + 1, dtype=np.uint64)
    for place in range(K):
        number = number * np.uint64(256) + letters[place : len(letters) - K + 1 + place]
    lengths = np.array([len(sequence) for sequence in padded])
    place = np.concatenate([[0], np.cumsum(lengths)])
    own = np.concatenate([np.arange(start, end - K + 1) for start, end in zip(place[:-1], place[1:], strict=True)])
    starts = np.concatenate([[0], np.cumsum(lengths - K + 1)[:-1]])
    return number[own], starts
