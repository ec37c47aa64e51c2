"""Codes of the residues of proteins: as one matrix for scores, and along single proteins."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import sparse

from biosae.features.token_codes import TokenCodes, TokenCodesShard

MOST_ANNOTATIONS = 40  # of each protein


@dataclass(frozen=True, eq=False)
class Residues:
    """The residues of some proteins, one protein after the other.

    Attributes
    ----------
    sample
        ``(n,)`` row of the protein.
    token
        ``(n,)`` vocabulary id.
    relative
        ``(n, d_sae)`` CSR: codes as shares of the feature's largest on the train proteins.
    """

    sample: np.ndarray
    token: np.ndarray
    relative: sparse.csr_matrix


def largest_on(codes: TokenCodes, is_chosen: np.ndarray) -> np.ndarray:
    """``(d_sae,)`` largest code of each feature on the chosen samples."""
    largest = np.zeros(codes.d_sae, dtype=np.float32)
    for shard in codes.shards():
        kept = is_chosen[shard.sample[shard.row]]
        np.maximum.at(largest, shard.feature()[kept], shard.code[kept])
    return largest


def n_residues_read(codes: TokenCodes, n_samples: int) -> np.ndarray:
    """``(n_samples,)`` residues of each protein that the model read."""
    n_read = np.zeros(n_samples, dtype=np.int64)
    for shard in codes.shards():
        n_read += np.bincount(shard.sample, minlength=n_samples)
    return n_read


def residues_of(codes: TokenCodes, is_chosen: np.ndarray, largest: np.ndarray) -> Residues:
    """Return the residues of the chosen samples, their codes divided by the ``(d_sae,)`` largest."""
    sample, token, blocks = [], [], []
    scale = sparse.diags(np.divide(1, largest, out=np.zeros_like(largest), where=largest > 0))
    for shard in codes.shards():
        entries = sparse.csc_matrix((shard.code, shard.row, shard.feature_offsets), (shard.n_tokens, codes.d_sae))
        kept = np.flatnonzero(is_chosen[shard.sample])
        blocks.append((entries.tocsr()[kept] @ scale).tocsr())
        sample.append(shard.sample[kept])
        token.append(shard.token[kept])
    return Residues(np.concatenate(sample), np.concatenate(token), sparse.vstack(blocks, format="csr"))


def one_hot(token: np.ndarray, n: int) -> sparse.csr_matrix:
    """``(n_residues, n)`` with a one at the token of each residue."""
    return sparse.csr_matrix((np.ones(len(token)), token, np.arange(len(token) + 1)), shape=(len(token), n))


class ResidueTracks:
    """Codes and annotations along the proteins of a run.

    Parameters
    ----------
    shards
        The token codes; the residues of a protein stand in one of them, in the order of its sequence.
    letters
        ``(n_vocabulary,)`` letter of each token.
    n_samples
        Number of proteins.
    annotations
        ``sample``, ``start``, ``end`` (from 1, inclusive), ``concept``; None when there are none.
    """

    def __init__(
        self, shards: list[TokenCodesShard], letters: np.ndarray, n_samples: int, annotations: pd.DataFrame | None
    ):
        self._shards, self._letters, self._annotations = shards, letters, annotations
        self._shard = np.full(n_samples, -1)
        self._first = np.zeros(n_samples, dtype=np.int64)
        self._length = np.zeros(n_samples, dtype=np.int64)
        for number, shard in enumerate(shards):
            sample, first, length = np.unique(shard.sample, return_index=True, return_counts=True)
            self._shard[sample], self._first[sample], self._length[sample] = number, first, length

    def codes(self, feature: int, sample: int) -> np.ndarray:
        """``(n_residues,) float32`` code of a feature on every residue of a protein."""
        shard, first = self._shards[self._shard[sample]], self._first[sample]
        owned = slice(*shard.feature_offsets[feature : feature + 2])
        place = shard.row[owned].astype(np.int64) - first
        inside = (place >= 0) & (place < self._length[sample])
        dense = np.zeros(self._length[sample], dtype=np.float32)
        dense[place[inside]] = shard.code[owned][inside]
        return dense

    def sequence(self, sample: int) -> str:
        """Letters of a protein; empty where a token has none or several."""
        first, length = self._first[sample], self._length[sample]
        letters = "".join(self._letters[self._shards[self._shard[sample]].token[first : first + length]])
        return letters if len(letters) == length else ""

    def annotations(self, sample: int) -> list[list]:
        """The first annotations of a protein: ``[start, end, concept]``."""
        if self._annotations is None:
            return []
        rows = self._annotations[self._annotations["sample"] == sample].head(MOST_ANNOTATIONS)
        return [[int(start), int(end), concept] for start, end, concept in rows[["start", "end", "concept"]].to_numpy()]
