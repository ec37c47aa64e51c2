"""Sparse codes in order of size: what ranks, thresholds and precision are all read from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import sparse


@dataclass(frozen=True)
class SortedCodes:
    """The non-zero codes of samples, feature by feature, the largest first.

    Attributes
    ----------
    n_samples, n_features
        Shape of the matrix; what is not an entry is 0.
    feature, sample, code
        ``(nnz,)`` the entries, by feature and then by descending code.
    offsets
        ``(n_features + 1,)``; feature ``j`` owns entries ``offsets[j]:offsets[j + 1]``.
    """

    n_samples: int
    n_features: int
    feature: np.ndarray
    sample: np.ndarray
    code: np.ndarray
    offsets: np.ndarray

    @classmethod
    def of(cls, codes: sparse.spmatrix) -> SortedCodes:
        """Sorts a ``(n_samples, n_features)`` sparse matrix."""
        entries = sparse.coo_matrix(codes)
        stored = entries.data != 0
        feature, sample, code = entries.col[stored], entries.row[stored], entries.data[stored]
        order = np.lexsort((sample, -code, feature))
        feature = feature[order].astype(np.int64)
        offsets = np.concatenate([[0], np.cumsum(np.bincount(feature, minlength=codes.shape[1]))])
        return cls(*codes.shape, feature, sample[order].astype(np.int64), code[order], offsets)

    @cached_property
    def position(self) -> np.ndarray:
        """``(nnz,)`` how many entries of the feature come before this one."""
        return np.arange(len(self.code)) - self.offsets[self.feature]

    @cached_property
    def run_end(self) -> np.ndarray:
        """Entries that are the last of a run of equal codes of one feature, ascending."""
        if not len(self.code):
            return np.empty(0, dtype=np.int64)
        differs = (self.code[1:] != self.code[:-1]) | (self.feature[1:] != self.feature[:-1])
        return np.flatnonzero(np.append(differs, True))

    @cached_property
    def run_offsets(self) -> np.ndarray:
        """``(n_features + 1,)``; feature ``j`` owns runs ``run_offsets[j]:run_offsets[j + 1]``."""
        n_runs = np.bincount(self.feature[self.run_end], minlength=self.n_features)
        return np.concatenate([[0], np.cumsum(n_runs)])

    def hits_per_run(self, is_member: np.ndarray) -> np.ndarray:
        """How many members of a class have a code at least as large as each run's; ``(n_runs,) int64``.

        Parameters
        ----------
        is_member
            ``(n_samples,) bool``.
        """
        hits = np.concatenate([[0], np.cumsum(is_member[self.sample])])
        return hits[self.run_end + 1] - hits[self.offsets[self.feature[self.run_end]]]
