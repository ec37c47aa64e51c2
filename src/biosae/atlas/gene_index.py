"""Genes (or residues) of the page: one number for each, and the features that fire on each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from .page_data import packed
from .run_folder import RunFolder

MOST_FEATURES_PER_GENE = 200
GENES_PER_SHARD = 1024
_COLUMNS = {"share": "f4", "specificity": "f4", "mean": "f4", "n_tokens": "u4"}


class GeneIndex:
    """The genes of a run in one order, those of tables/genes.csv and of the vocabulary.

    Attributes
    ----------
    identifiers, names
        One entry a gene; the name is what is shown, the identifier is what is unique.
    table
        tables/genes.csv with the gene's number in ``index``, largest share first in every feature.
    of_token
        ``(n_vocabulary,) int32`` the gene's number of each vocabulary id; None without token codes.
    """

    def __init__(self, run: RunFolder):
        known = (
            [] if run.genes is None else [run.genes[["identifier", "gene"]].set_axis(["identifier", "name"], axis=1)]
        )
        if run.expressed_genes is not None:
            known.append(run.expressed_genes[["identifier", "gene"]].set_axis(["identifier", "name"], axis=1))
        if run.token_codes is not None:
            known.append(run.token_codes.vocabulary[["identifier", "name"]])
        both = pd.concat(known or [pd.DataFrame(columns=["identifier", "name"])]).astype(str)
        unique = both.drop_duplicates("identifier").reset_index(drop=True)
        self.identifiers: list[str] = unique["identifier"].tolist()
        self.names: list[str] = unique["name"].where(unique["name"] != "", unique["identifier"]).tolist()
        self._number = pd.Index(unique["identifier"])
        self.table = self._ordered(run.genes)
        self._start = np.searchsorted(self.table["feature"], np.arange(run.d_sae + 1))
        self.of_token = self._of_token(run)

    def numbers(self, identifiers: pd.Series) -> np.ndarray:
        """``(n,)`` number of each gene, -1 for one that the page does not know."""
        return self._number.get_indexer(identifiers.astype(str))

    def __len__(self) -> int:
        return len(self.identifiers)

    def top(self, n_features: int, n: int) -> np.ndarray:
        """``(n_features, n) int32`` the genes with the largest share of each feature, -1 where there are fewer."""
        out = np.full((n_features, n), -1, dtype=np.int32)
        rank = self.table.groupby("feature").cumcount()
        rows = self.table[rank < n]
        out[rows["feature"], rank[rank < n]] = rows["index"]
        return out

    def shards(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Name and content of the shards with the features that fire on each gene, most specific first."""
        ordered = self.table.sort_values(["index", "specificity", "share"], ascending=[True, False, False])
        ordered = ordered[ordered.groupby("index").cumcount() < MOST_FEATURES_PER_GENE]
        start = np.searchsorted(ordered["index"], np.arange(len(self) + 1))
        for first in range(0, len(self), GENES_PER_SHARD):
            last = min(first + GENES_PER_SHARD, len(self))
            rows = ordered.iloc[start[first] : start[last]]
            content = {"feature": packed(rows["feature"].to_numpy(), "u4")}
            content |= {name: packed(rows[name].to_numpy(), dtype) for name, dtype in _COLUMNS.items()}
            yield (
                f"genes-{first // GENES_PER_SHARD}",
                content | {"offsets": packed(start[first : last + 1] - start[first], "u4")},
            )

    def of_features(self, first: int, last: int) -> dict[str, Any]:
        """The genes of the features ``first`` to ``last - 1``, largest share first."""
        rows = self.table.iloc[self._start[first] : self._start[last]]
        content = {"offsets": packed(self._start[first : last + 1] - self._start[first], "u4")}
        content["gene"] = packed(rows["index"].to_numpy(), "u4")
        return content | {name: packed(rows[name].to_numpy(), dtype) for name, dtype in _COLUMNS.items()}

    def _ordered(self, genes: pd.DataFrame | None) -> pd.DataFrame:
        if genes is None:
            genes = pd.DataFrame(columns=["feature", "identifier", *_COLUMNS]).astype({"feature": int})
        table = genes.assign(index=self._number.get_indexer(genes["identifier"]))
        return table.sort_values(["feature", "share"], ascending=[True, False], kind="stable")

    def _of_token(self, run: RunFolder) -> np.ndarray | None:
        if run.token_codes is None:
            return None
        vocabulary = run.token_codes.vocabulary
        out = np.full(int(vocabulary["token"].max()) + 1, -1, dtype=np.int32)
        out[vocabulary["token"]] = self._number.get_indexer(vocabulary["identifier"].astype(str))
        return out
