"""AUROC of every feature against every class, from the midranks of sparse codes.

The area under the ROC curve is the chance that a member of the class has a larger code than a
non-member, ties counting half: ``(R - n1 (n1 + 1) / 2) / (n1 n0)`` with ``R`` the sum of the members'
midranks (Mann and Whitney 1947). All samples where a feature is silent share one midrank, so only the
non-zero codes are ever touched.
"""

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
        """Members of a class whose code is at least as large as each run's, ``(n_runs,) int64``.

        Parameters
        ----------
        is_member
            ``(n_samples,) bool``.
        """
        hits = np.concatenate([[0], np.cumsum(is_member[self.sample])])
        return hits[self.run_end + 1] - hits[self.offsets[self.feature[self.run_end]]]


@dataclass(frozen=True)
class Midranks:
    """Midranks of the codes of each feature over the samples.

    Attributes
    ----------
    above_zero
        ``(n_samples, n_features)`` CSC float64: midrank minus the rank of code 0, which is 0 where silent.
    of_zero
        ``(n_features,)`` the midrank of code 0.
    """

    above_zero: sparse.csc_matrix
    of_zero: np.ndarray


def midranks(codes: SortedCodes) -> Midranks:
    """Midranks of each feature, 1 for the smallest; codes below 0 rank below the silent samples."""
    n_active = np.diff(codes.offsets)
    n_silent = codes.n_samples - n_active
    n_negative = np.bincount(codes.feature[codes.code < 0], minlength=codes.n_features)
    of_zero = n_negative + (n_silent + 1) / 2
    first = np.concatenate([[0], codes.run_end[:-1] + 1])[: len(codes.run_end)]
    middle = (codes.position[first] + codes.position[codes.run_end]) / 2
    run_lengths = codes.run_end - first + 1
    place = np.repeat(middle, run_lengths) + np.where(codes.code < 0, n_silent[codes.feature], 0)
    above_zero = codes.n_samples - place - of_zero[codes.feature]
    shape = (codes.n_samples, codes.n_features)
    return Midranks(sparse.csc_matrix((above_zero, codes.sample, codes.offsets), shape=shape), of_zero)


def auroc(ranked: Midranks, member: np.ndarray) -> np.ndarray:
    """AUROC of every feature and class, ``(n_features, n_classes) float64``.

    NaN for a class without members or without non-members.

    Parameters
    ----------
    member
        ``(n_samples, n_classes) bool``; classes may overlap.
    """
    return auroc_of_rank_sums(ranked.above_zero.T @ member.astype(np.float64), ranked.of_zero, member)


def auroc_of_rank_sums(rank_sums: np.ndarray, of_zero: np.ndarray, member: np.ndarray) -> np.ndarray:
    """AUROC from the members' summed ranks above zero, ``(n_features, n_classes)``."""
    n_members = member.sum(axis=0)
    n_pairs = n_members * (len(member) - n_members)
    whole = rank_sums + n_members * of_zero[:, None] - n_members * (n_members + 1) / 2
    return np.divide(whole, n_pairs, out=np.full(whole.shape, np.nan), where=n_pairs > 0)
