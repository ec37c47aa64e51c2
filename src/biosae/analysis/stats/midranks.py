"""AUROC of every feature against every class, from ranks of sparse codes.

The area under the ROC curve is the chance that a member of the class has a larger code than a
non-member, ties counting half: ``(R - n1 (n1 + 1) / 2) / (n1 n0)`` with ``R`` the sum of the members'
midranks (Mann and Whitney 1947). All samples where a feature is silent share one rank, so only the
non-zero codes are ever touched.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from .sorted_codes import SortedCodes


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


def ranks(codes: SortedCodes) -> Midranks:
    """Midranks, 1 for the smallest; codes below 0 rank below the silent samples."""
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
