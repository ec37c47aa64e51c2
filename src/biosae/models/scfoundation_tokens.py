"""Tokens of scFoundation: log values of its genes, then two tokens for read depth (Hao et al. 2024)."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from biosae.errors import SettingError

from .counts import count_blocks, row_of_entry
from .tokens import SpecialToken, TokenSequences, joined, with_special

INPUTS = ("counts", "normalized", "bulk")


class DepthTarget:
    """The value of the T token, from the rule that the official script calls ``tgthighres``."""

    def __init__(self, rule: str):
        match = re.fullmatch(r"([tfa])(\d+(?:\.\d+)?)", rule)
        if match is None:
            message = "target_depth must be t, f or a and a number, such as t4 (10,000 counts), f2 or a1"
            raise SettingError(f"{message}, got {rule}", argument="target_depth")
        self._kind, self._number = match[1], float(match[2])

    def __call__(self, depth: np.ndarray) -> np.ndarray:
        """``(n_cells,)`` from the cells' depths, all above 0."""
        if self._kind == "t":
            return np.full(depth.shape, self._number)
        return np.log10(depth * self._number) if self._kind == "f" else np.log10(depth) + self._number


@dataclass(frozen=True)
class ScFoundationReading:
    """The choices of the official script.

    Attributes
    ----------
    input
        ``counts``: scaled by the counts of the listed genes, which are the depth. ``normalized``: scaled by the
        whole library, as a file normalised beforehand is; the depth is the sum of the log values. ``bulk``: scaled
        by the counts of the listed genes; the depth is the sum of the log values, and T is S.
    target_sum
        Counts that a cell is scaled to.
    target_depth
        Rule for T.
    """

    input: str
    target_sum: float
    target_depth: DepthTarget

    def tokens(
        self, counts: sparse.csr_matrix, library: np.ndarray, token_of_column: np.ndarray, n_genes: int
    ) -> TokenSequences:
        """Return genes in the order of the list with ``log1p`` values, then T and S, whose ids come next."""
        blocks = count_blocks(counts, token_of_column, n_genes)
        return joined([self._block(block, library[rows], n_genes) for rows, block in blocks])

    def _block(self, counts: sparse.csr_matrix, library: np.ndarray, n_genes: int) -> TokenSequences:
        row, total = row_of_entry(counts), np.asarray(counts.sum(1)).ravel()
        scale = library if self.input == "normalized" else total
        value = np.log1p(counts.data / scale[row] * self.target_sum)
        depth = total if self.input == "counts" else np.bincount(row, value, minlength=len(total))
        depth = np.maximum(depth, 1)  # cells without a count get no token at all
        own = np.log10(depth)
        wanted = own if self.input == "bulk" else self.target_depth(depth)
        last = [SpecialToken(n_genes, wanted), SpecialToken(n_genes + 1, own)]
        return with_special(np.diff(counts.indptr), counts.indices, value, last=last)
