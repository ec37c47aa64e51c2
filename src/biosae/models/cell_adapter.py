"""Models whose tokens are the genes of a cell."""

from __future__ import annotations

from functools import cached_property

import pandas as pd

from .base import ModelAdapter
from .gene_match import GeneMatch, match_by_symbol
from .symbols import is_special, token_of_any_name


class CellAdapter(ModelAdapter):
    """A frozen model of cells; entries of its vocabulary in angle brackets, such as ``<cls>``, stand for no gene.

    Beside the methods of `ModelAdapter` an adapter may define `match_genes`, for a vocabulary that is not of symbols.
    """

    def match_genes(self, var: pd.DataFrame) -> GeneMatch:
        """Return the token of each gene of a data set.

        Parameters
        ----------
        var
            Columns ``ensembl_id`` and ``symbol``, "" where unknown.

        Raises
        ------
        ModelError
            If hardly any gene is known.
        """
        return match_by_symbol(var, self._token_of_name, self.name, self.n_genes)

    @property
    def n_genes(self) -> int:
        """Number of genes in the vocabulary."""
        return len(self._token_of_gene)

    @cached_property
    def _token_of_gene(self) -> dict[str, int]:
        return {gene: n for n, gene in enumerate(self.vocabulary.tolist()) if not is_special(gene)}

    @cached_property
    def _token_of_name(self) -> dict[str, int]:
        return token_of_any_name(self._token_of_gene)
