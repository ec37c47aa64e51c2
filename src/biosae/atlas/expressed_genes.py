"""Genes by expression: those of each feature, and for each gene its features and where it was read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from .gene_index import GENES_PER_SHARD, MOST_FEATURES_PER_GENE, GeneIndex
from .page_data import packed
from .run_folder import RunFolder

COLUMNS = {"effect": "effect", "within": "effect_within_class", "q_value": "q_value"}
"""Name on the page -> column of tables/expressed_genes.csv."""


class ExpressionTables:
    """tables/expressed_genes.csv by feature and by gene, with tables/gene_coverage.csv.

    Attributes
    ----------
    exist
        Whether the run has them.
    """

    def __init__(self, run: RunFolder, genes: GeneIndex):
        self.exist = run.expressed_genes is not None
        table = (
            run.expressed_genes if self.exist else pd.DataFrame(columns=["feature", "identifier", *COLUMNS.values()])
        )
        self._table = table.assign(index=genes.numbers(table["identifier"])).sort_values("feature", kind="stable")
        self._start = np.searchsorted(self._table["feature"].to_numpy(dtype=float), np.arange(run.d_sae + 1))
        self._n_genes = len(genes)
        self._coverage = self._covered(run, genes)

    def top(self, n_features: int, n: int) -> np.ndarray:
        """``(n_features, n) int32`` the first genes of each feature, -1 where there are fewer."""
        out = np.full((n_features, n), -1, dtype=np.int32)
        rank = self._table.groupby("feature").cumcount()
        rows = self._table[rank < n]
        out[rows["feature"].astype(int), rank[rank < n]] = rows["index"]
        return out

    def of_features(self, first: int, last: int) -> dict[str, Any]:
        """The genes of the features ``first`` to ``last - 1``, in the order of their ranking."""
        rows = self._table.iloc[self._start[first] : self._start[last]]
        content = {"offsets": packed(self._start[first : last + 1] - self._start[first], "u4")}
        content["gene"] = packed(rows["index"].to_numpy(), "u4")
        return content | {name: packed(rows[column].to_numpy(), "f4") for name, column in COLUMNS.items()}

    def shards(self) -> Iterator[dict[str, Any]]:
        """For each shard of genes the features of every gene, largest effect first, and its cells."""
        ordered = self._table.sort_values(["index", "effect"], ascending=[True, False], kind="stable")
        ordered = ordered[ordered.groupby("index").cumcount() < MOST_FEATURES_PER_GENE]
        start = np.searchsorted(ordered["index"].to_numpy(dtype=float), np.arange(self._n_genes + 1))
        for first in range(0, self._n_genes, GENES_PER_SHARD):
            last = min(first + GENES_PER_SHARD, self._n_genes)
            rows = ordered.iloc[start[first] : start[last]]
            content = {"offsets": packed(start[first : last + 1] - start[first], "u4")}
            content["feature"] = packed(rows["feature"].to_numpy(), "u4")
            content |= {name: packed(rows[column].to_numpy(), "f4") for name, column in COLUMNS.items()}
            cells = {name: packed(values[first:last], "i4") for name, values in self._coverage.items()}
            yield content | cells

    def _covered(self, run: RunFolder, genes: GeneIndex) -> dict[str, np.ndarray]:
        """Cells that express each gene and in which it was read, -1 where that is not known."""
        counted = {name: np.full(self._n_genes, -1) for name in ("n_expressing", "n_read")}
        if run.gene_coverage is not None:
            place = genes.numbers(run.gene_coverage["identifier"])
            for name, values in counted.items():
                values[place[place >= 0]] = run.gene_coverage[name].to_numpy()[place >= 0]
        return counted
