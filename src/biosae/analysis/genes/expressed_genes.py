"""Genes whose expression follows a feature over cells, whether the model read them or not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import anndata
import numpy as np
import pandas as pd
from scipy import sparse

from biosae.analysis.labels.classes import class_names
from biosae.analysis.stats.correlation import correlations_of_pairs, most_correlated
from biosae.analysis.stats.held_out import HeldOutSelection
from biosae.analysis.stats.permutation_tests import SIGNIFICANT_Q, benjamini_hochberg
from biosae.features.token_codes import TokenCodes
from biosae.progress import progress_bar

N_GENES = 20  # listed for each feature
N_NAMED = 10  # of those in scores.csv
MIN_CELLS = 10  # that express a gene among those it is ranked on
MOST_RANKED, MOST_REPORTED = 10_000, 5_000  # cells; more sharpen nothing that is shown
N_LEAST = 3  # genes that are named because they are hardly read
MOST_SHUFFLES, N_NULL = 10, 200_000  # times that codes are shuffled, until there are so many null correlations
N_POOLS, MIN_POOL = 16, 64  # features of like activity share their null


@dataclass(frozen=True, eq=False)
class ExpressedGenes:
    """Genes by expression.

    Attributes
    ----------
    table
        tables/expressed_genes.csv: ``feature``, ``gene``, ``identifier``, ``effect`` (correlation on test cells),
        ``effect_within_class`` and ``q_value``.
    scores
        One row per feature: the columns ``expressed`` of scores.csv.
    n_ranked, n_reported
        Numbers of cells.
    """

    table: pd.DataFrame
    scores: pd.DataFrame
    n_ranked: int
    n_reported: int

    def summary(self) -> dict:
        """Numbers for analysis.json: tests, and the mean effect of the first genes, also with shuffled codes."""
        return {
            "n_tests": int(self.table["q_value"].notna().sum()),
            "n_significant": int((self.table["q_value"] < SIGNIFICANT_Q).sum()),
            "effect": _mean(self.scores["effect"]),
            "null_effect": _mean(self.scores["null_effect"]),
        }

    def samples(self) -> dict:
        """The cells that genes were ranked and are reported on, for analysis.json."""
        chosen = {"selected_on": "train and select", "n_selected_on": self.n_ranked}
        return chosen | {"reported_on": "test", "n_reported_on": self.n_reported}


@dataclass(frozen=True, eq=False)
class _Cells:
    """Codes and expression of some cells, ``rows`` of the feature table."""

    rows: np.ndarray
    codes: sparse.csc_matrix
    expression: sparse.csc_matrix

    def shuffled(self, group: np.ndarray, generator: np.random.Generator) -> _Cells:
        """The same with the codes exchanged between cells of one group."""
        own = group[self.rows]
        order = np.lexsort((generator.random(len(own)), own))
        to = np.empty_like(order)
        to[np.argsort(own, kind="stable")] = order
        return _Cells(self.rows, self.codes[to], self.expression)


def expressed_genes(
    features: anndata.AnnData, expression: anndata.AnnData, label_key: str | None, group_key: str | None, seed: int
) -> ExpressedGenes:
    """Rank genes by the correlation of their log expression with the pooled code, and report it on other cells.

    Genes are ranked on train and select cells, of which `MIN_CELLS` express them; correlations are of test cells.
    P-values come from codes that are shuffled within the group, shared among features of like activity.

    Parameters
    ----------
    features
        The feature table.
    expression
        From `biosae.features.expression.read_expression`, of the same cells.
    label_key
        Column of obs with classes: ``effect_within_class`` is the correlation that is left within them.
    group_key
        Column of obs with the donor or batch, within which codes are shuffled.
    """
    generator = np.random.default_rng(seed)
    part, has_tokens = features.obs["biosae_part"].astype(str), features.obs["biosae_n_tokens"].to_numpy() > 0
    ranked = _drawn(np.flatnonzero(part.isin(["train", "select"]) & has_tokens), MOST_RANKED, generator)
    reported = _drawn(np.flatnonzero((part == "test") & has_tokens), MOST_REPORTED, generator)
    n_cells = np.bincount(expression.X[ranked].indices, minlength=expression.n_vars)
    tested = np.flatnonzero(n_cells >= MIN_CELLS)
    group = _numbers(features.obs, group_key)
    rank, test = (_cells(features, expression, rows, tested) for rows in (ranked, reported))
    with progress_bar("Genes by expression", 2 * features.n_vars * len(tested), "pairs") as advance:
        chosen = most_correlated(rank.codes, rank.expression, N_GENES, advance)
        by_chance = most_correlated(rank.shuffled(group, generator).codes, rank.expression, N_GENES, advance)
    pairs = HeldOutSelection(chosen, ranked).for_report_on(reported)
    effect = correlations_of_pairs(test.codes, test.expression, pairs)
    within = np.full_like(effect, np.nan)
    if label_key is not None:
        of_class = np.unique(_numbers(features.obs, label_key)[reported], return_inverse=True)[1]
        within = correlations_of_pairs(test.codes, test.expression, pairs, of_class)
    n_shuffles = max(1, min(MOST_SHUFFLES, -(-N_NULL // pairs.size)))
    shuffled = [test.shuffled(group, generator) for _ in range(n_shuffles)]
    null = np.stack([correlations_of_pairs(each.codes, each.expression, pairs) for each in shuffled], axis=2)
    null_effect = correlations_of_pairs(shuffled[0].codes, shuffled[0].expression, by_chance)
    q_value = benjamini_hochberg(_p_values(effect, null, np.diff(test.codes.indptr)))
    genes = expression.var.iloc[tested].reset_index(drop=True)
    table = _table(genes, pairs, {"effect": effect, "effect_within_class": within, "q_value": q_value})
    return ExpressedGenes(table, _scores(table, null_effect, features.n_vars), len(ranked), len(reported))


def gene_coverage(genes: pd.DataFrame, n_expressing: np.ndarray, codes: TokenCodes) -> pd.DataFrame:
    """Number of cells that express each gene, and in how many of these the model read it: tables/gene_coverage.csv.

    Parameters
    ----------
    genes
        One row per gene: ``identifier``, ``symbol`` and ``token``.
    n_expressing
        ``(n_genes,)`` cells that express each.
    """
    n_read = np.zeros(int(codes.vocabulary["token"].max()) + 1, dtype=np.int64)
    for shard in codes.shards():
        pair = np.unique(shard.sample.astype(np.int64) * len(n_read) + shard.token)
        n_read += np.bincount(pair % len(n_read), minlength=len(n_read))
    token = genes["token"].to_numpy()
    table = pd.DataFrame({"identifier": genes["identifier"], "gene": genes["symbol"]}).astype(str)
    table["n_expressing"] = n_expressing
    table["n_read"] = np.where(token >= 0, n_read[np.maximum(token, 0)], 0)
    return table[table["n_expressing"] > 0].reset_index(drop=True)


def reading(coverage: pd.DataFrame, genes: list[str]) -> dict:
    """Return the share of expressed genes that the model reads, and the markers that it reads least.

    Parameters
    ----------
    coverage
        From `gene_coverage`.
    genes
        Genes that matter, such as those of the features that mark classes.

    Returns
    -------
    ``read_share`` of all pairs of a cell and a gene that it expresses; ``least_read``, up to `N_LEAST` of the genes of
    which less than half is read, each with its ``gene``, ``n_expressing`` and ``n_read``.
    """
    n_pairs = int(coverage["n_expressing"].sum())
    some = coverage[coverage["gene"].isin(genes) & (coverage["n_expressing"] >= MIN_CELLS)]
    some = some.assign(share=some["n_read"] / some["n_expressing"]).sort_values("share", kind="stable")
    least = some[some["share"] < 0.5].head(N_LEAST)[["gene", "n_expressing", "n_read"]]
    share = float(coverage["n_read"].sum() / n_pairs) if n_pairs else None
    return {"read_share": share, "least_read": least.to_dict("records")}


def gmt_lines(table: pd.DataFrame, names: dict[int, str]) -> Iterator[str]:
    """Lines of a GMT file: the genes of each feature that are significant on test cells.

    Parameters
    ----------
    table
        tables/expressed_genes.csv.
    names
        What stands beside the number of each feature, ``f12``.
    """
    for feature, rows in table[table["q_value"] < SIGNIFICANT_Q].groupby("feature"):
        name = " ".join(str(names.get(feature, "")).split()) or "unnamed"  # tabs separate
        yield "\t".join([f"f{feature}", name, *rows["gene"].astype(str)])


def _drawn(rows: np.ndarray, most: int, generator: np.random.Generator) -> np.ndarray:
    return rows if len(rows) <= most else np.sort(generator.choice(rows, most, replace=False))


def _numbers(obs: pd.DataFrame, key: str | None) -> np.ndarray:
    """``(n,)`` number of each sample's value; one for all without a column."""
    if key is None:
        return np.zeros(len(obs), dtype=np.int64)
    return np.unique(class_names(obs[key]).astype(str), return_inverse=True)[1]


def _cells(features: anndata.AnnData, expression: anndata.AnnData, rows: np.ndarray, genes: np.ndarray) -> _Cells:
    codes, values = sparse.csr_matrix(features.X)[rows], sparse.csr_matrix(expression.X)[rows][:, genes]
    return _Cells(rows, codes.tocsc(), values.tocsc())


def _p_values(effect: np.ndarray, null: np.ndarray, n_active: np.ndarray) -> np.ndarray:
    """Chance of an effect as large with shuffled codes, among all pairs of features of like activity."""
    p = np.full(effect.shape, np.nan)
    n_pools = max(1, min(N_POOLS, len(effect) // MIN_POOL))
    for features in np.array_split(np.argsort(n_active, kind="stable"), n_pools):
        values = null[features]
        values = np.sort(values[np.isfinite(values)])
        above = len(values) - np.searchsorted(values, effect[features] - 1e-6)
        p[features] = (1 + above) / (1 + len(values))
    return np.where(np.isfinite(effect), p, np.nan)


def _table(genes: pd.DataFrame, pairs: np.ndarray, columns: dict[str, np.ndarray]) -> pd.DataFrame:
    """One row for every feature and gene, in the order of the ranking."""
    feature, slot = np.nonzero(pairs >= 0)
    gene = pairs[feature, slot]
    names = {"gene": genes["symbol"].to_numpy()[gene], "identifier": genes["identifier"].to_numpy()[gene]}
    found = {name: values[feature, slot] for name, values in columns.items()}
    return pd.DataFrame({"feature": feature} | names | found)


def _scores(table: pd.DataFrame, null_effect: np.ndarray, n_features: int) -> pd.DataFrame:
    """The ten genes that lead, their mean effect and that with shuffled codes, and how many are significant."""
    first = table[table.groupby("feature").cumcount() < N_NAMED].groupby("feature")
    is_significant = table["q_value"] < SIGNIFICANT_Q
    columns = {"top_genes": first["gene"].agg(";".join), "effect": first["effect"].mean()}
    scores = pd.DataFrame(columns).reindex(range(n_features)).rename_axis("feature")
    has_genes = scores["effect"].notna().to_numpy()
    with np.errstate(invalid="ignore"):
        of_null = np.nansum(null_effect[:, :N_NAMED], 1) / np.maximum(np.isfinite(null_effect[:, :N_NAMED]).sum(1), 1)
    scores["null_effect"] = np.where(has_genes, of_null, np.nan)
    n_significant = table[is_significant].groupby("feature").size().reindex(scores.index).fillna(0)
    scores["n_significant"] = n_significant.where(has_genes).astype("Int64")
    return scores


def _mean(values: pd.Series) -> float | None:
    return None if values.isna().all() else float(values.mean())
