"""All numbers below a limit once each in a random order, for more of them than memory should hold."""

from __future__ import annotations

import numpy as np
import torch

IN_MEMORY = 1 << 20  # 4 MB; as blocks of a store, 67 million tokens
ROUNDS = 6


def random_order(n: int, generator: torch.Generator) -> np.ndarray | KeyedOrder:
    """``(n,)`` numbers ``0 ... n - 1`` that are looked up by slices.

    Up to `IN_MEMORY` they are drawn as a whole, which every such order could be; beyond, a key is drawn from which
    each is computed when it is asked for.
    """
    if n <= IN_MEMORY:
        return torch.randperm(n, generator=generator, dtype=torch.int32).numpy()
    return KeyedOrder(n, torch.randint(2**32, (ROUNDS,), generator=generator).numpy().astype(np.uint64))


class KeyedOrder:
    """A permutation that is computed place by place: a balanced Feistel cipher over the next even power of two.

    A place whose image lies beyond the limit is enciphered again until it does not (cycle walking, Black and Rogaway
    2002), at most four times on average; that keeps it one to one.

    Parameters
    ----------
    key
        ``(rounds,) uint64`` below 2**32, one for every round.
    """

    def __init__(self, n: int, key: np.ndarray):
        self._n, self._key = n, key
        self._half_bits = np.uint64((max(n - 1, 1).bit_length() + 1) // 2)
        self._mask = np.uint64((1 << int(self._half_bits)) - 1)

    def __len__(self) -> int:
        return self._n

    def __getitem__(self, places: slice) -> np.ndarray:
        found = self._enciphered(np.arange(*places.indices(self._n), dtype=np.uint64))
        while len(beyond := np.flatnonzero(found >= self._n)):
            found[beyond] = self._enciphered(found[beyond])
        return found.astype(np.int64)

    def _enciphered(self, number: np.ndarray) -> np.ndarray:
        left, right = number >> self._half_bits, number & self._mask
        for key in self._key:
            left, right = right, left ^ (_mixed(right + (key << np.uint64(32))) & self._mask)
        return (left << self._half_bits) | right


def _mixed(number: np.ndarray) -> np.ndarray:
    """64 bits that each depend on all of ``number``: the finaliser of SplitMix64 (Steele, Lea and Flood 2014)."""
    number = (number ^ (number >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    number = (number ^ (number >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return number ^ (number >> np.uint64(31))
