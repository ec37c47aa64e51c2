"""Codes of tokens pooled per sample: largest, sum, mean and share of tokens where active."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from .token_codes import TokenCodesShard


@dataclass(frozen=True, eq=False)
class PooledCodes:
    """Codes of consecutive samples, four ways of pooling with one sparsity pattern.

    Attributes
    ----------
    max, mean, sum, fraction_active
        ``(n, d_sae)`` CSR float32.
    n_tokens
        ``(n,) int64`` content tokens of each sample.
    """

    max: sparse.csr_matrix
    mean: sparse.csr_matrix
    sum: sparse.csr_matrix
    fraction_active: sparse.csr_matrix
    n_tokens: np.ndarray


@dataclass(frozen=True, eq=False)
class PooledAxes:
    """Any set of axes, SAE features or simpler ones, over all samples.

    Attributes
    ----------
    codes
        ``(n_samples, n_axes)`` CSR, non-negative: the largest code of each sample.
    frequency
        ``(n_axes,)`` share of all content tokens on which each axis is active.
    """

    codes: sparse.csr_matrix
    frequency: np.ndarray

    @property
    def l0(self) -> float:
        """Mean number of active axes of a token."""
        return float(self.frequency.sum())

    def chosen(self, which: np.ndarray) -> PooledAxes:
        """The axes with the given numbers."""
        return PooledAxes(self.codes[:, which], self.frequency[which])


def pool(shard: TokenCodesShard, first_sample: int, end_sample: int) -> PooledCodes:
    """The samples ``first_sample`` to ``end_sample - 1``, all of whose tokens are in the shard."""
    n_samples = end_sample - first_sample
    sample = (shard.sample - first_sample)[shard.row]  # (nnz,) ascending within a feature
    feature = shard.feature()
    n_tokens = np.bincount(shard.sample - first_sample, minlength=n_samples)
    starts = np.flatnonzero(np.diff(feature * n_samples + sample, prepend=-1))  # first entry of each (feature, sample)
    code = shard.code.astype(np.float64)
    total = np.add.reduceat(code, starts) if len(starts) else code
    largest = np.maximum.reduceat(shard.code, starts) if len(starts) else shard.code
    n_active = np.diff(np.append(starts, len(code)))
    tokens = n_tokens[sample[starts]]
    order = np.lexsort((feature[starts], sample[starts]))
    offsets = np.append(0, np.cumsum(np.bincount(sample[starts], minlength=n_samples)))
    columns = feature[starts][order]

    def matrix(values: np.ndarray) -> sparse.csr_matrix:
        return sparse.csr_matrix((values[order].astype(np.float32), columns, offsets), (n_samples, shard.d_sae))

    return PooledCodes(matrix(largest), matrix(total / tokens), matrix(total), matrix(n_active / tokens), n_tokens)
