"""Gene sets over-represented among the top genes of a feature, beside lists of equally popular genes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.stats import hypergeom

from biosae.analysis.stats.permutation_tests import SIGNIFICANT_Q, benjamini_hochberg

from .gene_sets import GeneSets

LIST_SIZE = 20
GENES_PER_BIN = 50  # neighbours in popularity that a gene of a matched list is drawn from
MATCHED_REPEATS = 5


@dataclass(frozen=True, eq=False)
class SetTests:
    """Hypergeometric tests of every gene list against every set.

    Attributes
    ----------
    overlap
        ``(n_lists, n_sets)`` CSR: genes in both; pairs without one have p = q = 1.
    p_value, q_value
        ``(nnz,)`` of the pairs with an overlap, in the order of ``overlap.data``.
    n_tests
        All pairs of a list with genes and a set, overlapping or not: the family of the correction.
    """

    overlap: sparse.csr_matrix
    p_value: np.ndarray
    q_value: np.ndarray
    n_tests: int

    @property
    def list_of_pair(self) -> np.ndarray:
        """``(nnz,)`` list of each overlapping pair."""
        return np.repeat(np.arange(self.overlap.shape[0]), np.diff(self.overlap.indptr))

    @property
    def n_sets(self) -> int:
        return self.overlap.shape[1]

    def simes(self) -> np.ndarray:
        """``(n_lists,)`` p-value of the hypothesis that a list is rich in no set (Simes 1986), smallest of p·m/rank."""
        order = np.lexsort((self.p_value, self.list_of_pair))
        scaled = self.p_value[order] * self.n_sets / _ranks_within(self.overlap.indptr)
        found = np.ones(self.overlap.shape[0])
        has_pairs = np.diff(self.overlap.indptr) > 0
        if len(scaled):
            found[has_pairs] = np.minimum(1, np.minimum.reduceat(scaled, self.overlap.indptr[:-1][has_pairs]))
        return found

    def n_rejected(self, levels: np.ndarray) -> np.ndarray:
        """``(n_lists,)`` sets that Benjamini and Hochberg's step-up over a list's own sets rejects at its level."""
        order = np.lexsort((self.p_value, self.list_of_pair))
        rank = _ranks_within(self.overlap.indptr)
        holds = self.p_value[order] <= rank * levels[self.list_of_pair] / max(1, self.n_sets)
        found = np.zeros(self.overlap.shape[0], dtype=np.int64)
        np.maximum.at(found, self.list_of_pair, np.where(holds, rank, 0))
        return found

    def annotated(self) -> np.ndarray:
        """``(n_lists,) bool`` lists with at least one significant set."""
        significant = self.list_of_pair[self.q_value < SIGNIFICANT_Q]
        return np.bincount(significant, minlength=self.overlap.shape[0]) > 0


@dataclass(frozen=True, eq=False)
class Enrichment:
    """Enrichment of all features.

    Attributes
    ----------
    scores
        One row per feature: the columns of ``enrichment`` in docs/formats.md.
    table
        One row for every significant pair of a feature and a set.
    n_tests, n_background, n_sets
        Size of the family, genes the model could emit in these samples, sets of usable size.
    annotated_share, matched_share
        Share of features with a significant set, and the same for lists matched in size and
        popularity (mean over `MATCHED_REPEATS` draws).
    simes_share, matched_simes_share
        The same for features with a significant Simes p-value.
    sources_left_out
        Files none of whose sets has a usable number of background genes.
    """

    scores: pd.DataFrame
    table: pd.DataFrame
    n_tests: int
    n_background: int
    n_sets: int
    annotated_share: float
    matched_share: float
    simes_share: float
    matched_simes_share: float
    sources_left_out: list[str]

    def summary(self) -> dict:
        """Size of the family of tests, and the share of annotated features beside that of matched random lists."""
        return {name: value for name, value in vars(self).items() if name not in ("scores", "table")}


def _ranks_within(indptr: np.ndarray) -> np.ndarray:
    """1, 2, ... within each row of a CSR matrix."""
    return np.arange(indptr[-1]) - np.repeat(indptr[:-1], np.diff(indptr)) + 1


def enrichment(
    total: sparse.csr_matrix, n_tokens: np.ndarray, symbols: np.ndarray, sets: GeneSets, seed: int
) -> Enrichment:
    """Over-representation of gene sets among the `LIST_SIZE` genes with most of a feature's activation.

    The background is the genes with a token in these samples; the sets are cut to it, and those
    of `MIN_SET` to `MAX_SET` genes are tested. No pair is left out before the correction, which
    runs over all features and sets at once.

    Parameters
    ----------
    total
        ``(d_sae, n_vocabulary)`` summed code by feature and gene.
    n_tokens
        ``(n_vocabulary,)`` tokens of each gene.
    symbols
        ``(n_vocabulary,)`` gene symbols.
    """
    background = np.flatnonzero(n_tokens > 0)
    lists = top_gene_lists(total[:, background], LIST_SIZE)
    tested, members = sets.testable(symbols[background])
    tests = over_representation(lists, members)
    generator = np.random.default_rng(seed)
    matched = [matched_lists(lists, n_tokens[background], generator) for _ in range(MATCHED_REPEATS)]
    fires = np.diff(lists.indptr) > 0
    by_chance = [over_representation(drawn, members) for drawn in matched]
    table = _table(tests, lists, members, tested, symbols[background])
    selected = selected_features(tests, fires)
    return Enrichment(
        scores=_scores(table, lists).join(selected),
        table=table[table["q_value"] < SIGNIFICANT_Q].reset_index(drop=True),
        n_tests=tests.n_tests,
        n_background=len(background),
        n_sets=len(tested),
        annotated_share=_share(tests, fires),
        matched_share=float(np.mean([_share(drawn, fires) for drawn in by_chance])),
        simes_share=_simes_share(selected),
        matched_simes_share=float(np.mean([_simes_share(selected_features(drawn, fires)) for drawn in by_chance])),
        sources_left_out=sorted({*sets.sources} - {*tested.sources}),
    )


def selected_features(tests: SetTests, fires: np.ndarray) -> pd.DataFrame:
    """Features first, then sets within the features selected (Benjamini and Bogomolov 2014); NaN where silent.

    Returns
    -------
    ``p_simes``; ``q_simes``, Benjamini-Hochberg over features; ``n_sets_selected``, the sets that hold
    within the feature at the level of 0.05 times the share of features selected.
    """
    p_simes = np.where(fires, tests.simes(), np.nan)
    q_simes = benjamini_hochberg(p_simes)
    is_selected = q_simes < SIGNIFICANT_Q
    level = SIGNIFICANT_Q * is_selected.sum() / max(1, fires.sum())
    n_sets = pd.Series(tests.n_rejected(np.where(is_selected, level, 0.0))).astype("Int64").where(fires)
    columns = {"p_simes": p_simes, "q_simes": q_simes, "n_sets_selected": n_sets}
    return pd.DataFrame(columns).rename_axis("feature")


def top_gene_lists(total: sparse.csr_matrix, n: int) -> sparse.csr_matrix:
    """``(d_sae, n_genes)`` ones at the ``n`` genes with the largest sums of each feature; fewer if fewer are active."""
    feature = np.repeat(np.arange(total.shape[0]), np.diff(total.indptr))
    order = np.lexsort((total.indices, -total.data, feature))
    kept = order[np.arange(total.nnz) - total.indptr[feature] < n]
    ones = np.ones(len(kept), dtype=np.int64)
    return sparse.csr_matrix((ones, (feature[kept], total.indices[kept])), shape=total.shape)


def over_representation(lists: sparse.csr_matrix, members: sparse.csr_matrix) -> SetTests:
    """Tests every list against every set; each different triple of sizes is computed once.

    Parameters
    ----------
    lists, members
        ``(n_lists, n_genes)`` and ``(n_sets, n_genes)`` ones, over the background genes.
    """
    overlap = (lists @ members.T).tocsr()
    overlap.sort_indices()
    list_size, set_size = np.diff(lists.indptr), np.diff(members.indptr)
    pair_list = np.repeat(np.arange(overlap.shape[0]), np.diff(overlap.indptr))
    sizes = np.stack([overlap.data, set_size[overlap.indices], list_size[pair_list]])
    triples, of_pair = np.unique(sizes, axis=1, return_inverse=True)
    at_least, in_set, in_list = triples
    p_value = hypergeom.sf(at_least - 1, lists.shape[1], in_set, in_list)[of_pair.ravel()]
    n_tests = int((list_size > 0).sum()) * members.shape[0]
    return SetTests(overlap, p_value, benjamini_hochberg(p_value, n_tests), n_tests)


def matched_lists(
    lists: sparse.csr_matrix, popularity: np.ndarray, generator: np.random.Generator
) -> sparse.csr_matrix:
    """Lists of the same sizes in which each gene is replaced by a random one of like popularity.

    Parameters
    ----------
    popularity
        ``(n_genes,)`` tokens of each gene; a replacement comes from the same run of
        `GENES_PER_BIN` genes in this order.
    """
    n_genes = lists.shape[1]
    by_popularity = np.lexsort((generator.random(n_genes), popularity))
    place = np.empty(n_genes, dtype=np.int64)
    place[by_popularity] = np.arange(n_genes)
    first = place[lists.indices] // GENES_PER_BIN * GENES_PER_BIN
    width = np.minimum(GENES_PER_BIN, n_genes - first)
    row = np.repeat(np.arange(lists.shape[0]), np.diff(lists.indptr))
    drawn = np.empty(lists.nnz, dtype=np.int64)
    open_places = np.arange(lists.nnz)
    while len(open_places):
        drawn[open_places] = by_popularity[first[open_places] + generator.integers(width[open_places])]
        key = row * n_genes + drawn
        _, kept = np.unique(key, return_index=True)
        open_places = np.setdiff1d(np.arange(lists.nnz), kept)  # a gene drawn twice for one list is drawn again
    return sparse.csr_matrix((np.ones(lists.nnz, dtype=np.int64), (row, drawn)), shape=lists.shape)


def _table(
    tests: SetTests, lists: sparse.csr_matrix, members: sparse.csr_matrix, sets: GeneSets, symbols: np.ndarray
) -> pd.DataFrame:
    """All overlapping pairs, by feature and then by p-value; shared genes are named where significant."""
    row, column = tests.list_of_pair, tests.overlap.indices
    list_size, set_size = np.diff(lists.indptr)[row], np.diff(members.indptr)[column]
    significant = tests.q_value < SIGNIFICANT_Q
    shared = np.full(len(row), "", dtype=object)
    for pair in np.flatnonzero(significant):
        both = np.intersect1d(lists[row[pair]].indices, members[column[pair]].indices)
        shared[pair] = ";".join(symbols[both])
    table = pd.DataFrame(
        {
            "feature": row,
            "set": np.array(sets.names, dtype=object)[column],
            "source": np.array(sets.sources, dtype=object)[column],
            "overlap": tests.overlap.data,
            "list_size": list_size,
            "set_size": set_size,
            "fold": tests.overlap.data * lists.shape[1] / (list_size * set_size),
            "p_value": tests.p_value,
            "q_value": tests.q_value,
            "genes": shared,
        }
    )
    return table.sort_values(["feature", "p_value", "set_size"], kind="stable", ignore_index=True)


def _scores(table: pd.DataFrame, lists: sparse.csr_matrix) -> pd.DataFrame:
    best = table.drop_duplicates("feature").set_index("feature")[
        ["set", "source", "overlap", "fold", "p_value", "q_value"]
    ]
    scores = best.reindex(range(lists.shape[0])).rename_axis("feature").astype({"overlap": "Int64"})
    n_significant = table["feature"][table["q_value"] < SIGNIFICANT_Q].value_counts()
    fires = np.diff(lists.indptr) > 0
    counted = n_significant.reindex(range(lists.shape[0])).fillna(0).astype("Int64")
    scores["n_sets"] = counted.where(pd.Series(fires, index=counted.index))
    return scores


def _simes_share(selected: pd.DataFrame) -> float:
    q_simes = selected["q_simes"].dropna()
    return float((q_simes < SIGNIFICANT_Q).mean()) if len(q_simes) else 0.0


def _share(tests: SetTests, fires: np.ndarray) -> float:
    return float(tests.annotated()[fires].mean()) if fires.any() else 0.0
