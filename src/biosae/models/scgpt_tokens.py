"""Tokens of scGPT: expressed genes with binned values, after ``<cls>`` (Cui et al. 2024)."""

from __future__ import annotations

from dataclasses import dataclass

import anndata
import numpy as np
import pandas as pd
from scipy import sparse

from biosae.errors import ModelError

from .binning import bin_counts
from .counts import count_blocks, row_of_entry
from .keyed_random import cell_keys, keyed_uniform
from .tokens import SpecialToken, TokenSequences, joined, with_special

BINNING, SAMPLING = 0, 1  # purposes of random numbers


@dataclass(frozen=True)
class ScGPTReading:
    """The choices that scGPT's published code leaves to its user.

    Attributes
    ----------
    n_bins
        Bins of expression values, bin 0 for genes without a count included.
    max_genes
        Genes kept per cell, drawn at random from its genes.
    zero_genes
        If true, genes without a count are read, in bin 0.
    cls
        The token before the genes, if any.
    random_bins
        If true, equal counts get a random one of the bins they span, else the middle one.
    seed
        Of the draws, which depend on cell name and gene only.
    """

    n_bins: int
    max_genes: int
    zero_genes: bool
    cls: SpecialToken | None
    random_bins: bool
    seed: int

    def tokens(self, cells: anndata.AnnData, token_of_column: np.ndarray, n_vocabulary: int) -> TokenSequences:
        """Return the cells as tokens in ascending order (scGPT has no positions); values are bins."""
        keys = cell_keys(cells.obs_names)
        known = np.unique(token_of_column[token_of_column >= 0])
        blocks = count_blocks(cells.X, token_of_column, n_vocabulary)
        return joined([self._block(counts, keys[rows], known) for rows, counts in blocks])

    def _block(self, counts: sparse.csr_matrix, keys: np.ndarray, known: np.ndarray) -> TokenSequences:
        row, token = row_of_entry(counts), counts.indices
        draw = keyed_uniform(self.seed, BINNING, keys[row], token) if self.random_bins else None
        value = bin_counts(counts, self.n_bins, draw)
        if self.zero_genes:
            row, token, value = _with_zeros(row, token, value, known)
        kept = self._sampled(row, token, keys)
        n_content = np.bincount(row[kept], minlength=len(keys))
        first = [] if self.cls is None else [self.cls]
        return with_special(n_content, token[kept], value[kept], first)

    def _sampled(self, row: np.ndarray, token: np.ndarray, keys: np.ndarray) -> np.ndarray:
        """``(n,) bool``: at most ``max_genes`` random entries of each row."""
        kept = np.ones(len(row), dtype=bool)
        n = np.bincount(row, minlength=len(keys))
        if n.max(initial=0) <= self.max_genes:
            return kept
        order = np.lexsort((keyed_uniform(self.seed, SAMPLING, keys[row], token), row))
        rank = np.arange(len(row)) - np.repeat(np.cumsum(n) - n, n)
        kept[order[rank >= self.max_genes]] = False
        return kept


def _with_zeros(
    row: np.ndarray, token: np.ndarray, value: np.ndarray, known: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Entries for every known gene of the rows that have any, 0 where there was none."""
    occupied, place = np.unique(row, return_inverse=True)
    values = np.zeros((len(occupied), len(known)), dtype=value.dtype)
    values[place, np.searchsorted(known, token)] = value
    return np.repeat(occupied, len(known)), np.tile(known, len(occupied)), values.ravel()


def batch_labels(obs: pd.DataFrame, batch_key: str | None, n_batches: int) -> np.ndarray | None:
    """Return batches, ``(n_cells,) int64``, numbered in alphabetical order as in fine-tuning; None for a model without.

    Raises
    ------
    ModelError
        If the model needs a column that is not given, is missing, or has another number of batches.
    """
    if n_batches == 0:
        return None
    if n_batches == 1 and batch_key is None:
        return np.zeros(len(obs), dtype=np.int64)
    if batch_key not in obs:
        expected = f"this scGPT was fine-tuned on {n_batches} batches: name their column of obs as batch_key"
        message = f"{expected}, got {batch_key}; obs has {', '.join(map(str, obs.columns))}"
        raise ModelError(message, argument="model.batch_key")
    column = obs[batch_key].astype("category")  # which one of some cells may be already, of the values of all cells
    names, labels = np.unique(column.cat.categories.astype(str), return_inverse=True)
    if len(names) != n_batches:
        message = f"batch_key {batch_key} has {len(names)} batches, but this scGPT was fine-tuned on {n_batches}; "
        raise ModelError(message + "it cannot read cells of batches that it does not know", "model.batch_key")
    return labels[column.cat.codes].astype(np.int64)
