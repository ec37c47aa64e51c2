"""Gene sets that lie high among all genes in the order of a feature's mean code; no list is cut off."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import sparse

from biosae.analysis.stats.auroc import SortedCodes, auroc, midranks
from biosae.analysis.stats.permutation_tests import SIGNIFICANT_Q, benjamini_hochberg, shuffled_null
from biosae.progress import progress_bar

from .enrichment import GENES_PER_BIN
from .gene_sets import GeneSets


@dataclass(frozen=True, eq=False)
class RankEnrichment:
    """Rank-based enrichment of all features.

    Attributes
    ----------
    scores
        One row per feature: the columns of ``enrichment_by_rank`` in docs/formats.md.
    table
        One row for every significant pair of a feature and a set.
    n_tests, n_sets
        Pairs with a p-value, the family of the correction, and sets of usable size.
    annotated_share, matched_share
        Share of features with a significant set, and the same when each set is exchanged for genes of like popularity.
    """

    scores: pd.DataFrame
    table: pd.DataFrame
    n_tests: int
    n_sets: int
    annotated_share: float
    matched_share: float

    def summary(self) -> dict:
        """Size of the family of tests, and the share of annotated features beside that for exchanged sets."""
        return {name: value for name, value in vars(self).items() if name not in ("scores", "table")}


def rank_enrichment(
    total: sparse.csr_matrix,
    n_tokens: np.ndarray,
    symbols: np.ndarray,
    sets: GeneSets,
    n_permutations: int,
    seed: int,
) -> RankEnrichment:
    """Test whether the genes of a set have larger mean codes than other genes (Wilcoxon's rank sum, as an AUROC).

    Genes are ordered by a feature's mean code over all their tokens, where it is silent counting 0. For the null,
    memberships are shuffled among genes of like popularity, `GENES_PER_BIN` at a time; null values are shared among
    features that fire on about as many genes, as for labels. Benjamini-Hochberg over all features and sets.

    Parameters
    ----------
    total, n_tokens, symbols
        As for `biosae.analysis.genes.enrichment.enrichment`.
    """
    generator = np.random.default_rng(seed)
    background = np.flatnonzero(n_tokens > 0)
    sets, members = sets.testable(symbols[background])
    member = members.toarray().astype(bool).T  # (n_genes, n_sets)
    if len(sets) == 0:
        return RankEnrichment(pd.DataFrame(), pd.DataFrame(), 0, 0, 0.0, 0.0)
    mean_code = sparse.csr_matrix(total[:, background].multiply(1 / n_tokens[background]))
    ranked = midranks(SortedCodes.of(mean_code.T))
    popularity_bin = np.empty(len(background), dtype=np.int64)
    by_popularity = np.lexsort((generator.random(len(background)), n_tokens[background]))
    popularity_bin[by_popularity] = np.arange(len(background)) // GENES_PER_BIN
    with progress_bar("Null of gene sets", n_permutations, "permutations") as advance:
        null = shuffled_null(ranked, member, popularity_bin, n_permutations, generator, advance)
    pairs = _pairs(auroc(ranked, member), null.p_single, member.sum(axis=0), sets)
    best = pairs.drop_duplicates("feature").set_index("feature").drop(columns="set_size")
    n_significant = pairs["feature"][pairs["q_value"] < SIGNIFICANT_Q].value_counts()
    scores = best.assign(n_sets=n_significant.reindex(best.index).fillna(0).astype("Int64"))
    return RankEnrichment(
        scores=scores.reindex(range(total.shape[0])).rename_axis("feature"),
        table=pairs[pairs["q_value"] < SIGNIFICANT_Q].reset_index(drop=True),
        n_tests=len(pairs),
        n_sets=len(sets),
        annotated_share=_annotated_share(null.p_single),
        matched_share=_annotated_share(null.p_by_chance),
    )


def _annotated_share(p_single: np.ndarray) -> float:
    """Share of the features with a test that have a set of q below `SIGNIFICANT_Q`."""
    fires = np.isfinite(p_single).any(axis=1)
    q_value = benjamini_hochberg(p_single)[fires]
    return float((q_value < SIGNIFICANT_Q).any(axis=1).mean()) if fires.any() else 0.0


def _pairs(reached: np.ndarray, p_single: np.ndarray, set_size: np.ndarray, sets: GeneSets) -> pd.DataFrame:
    """All pairs that are tests, by feature and then by p-value, equal ones by AUROC."""
    feature, column = np.nonzero(np.isfinite(p_single))
    pairs = pd.DataFrame(
        {
            "feature": feature,
            "set": np.array(sets.names, dtype=object)[column],
            "source": np.array(sets.sources, dtype=object)[column],
            "set_size": set_size[column],
            "auroc": reached[feature, column],
            "p_value": p_single[feature, column],
            "q_value": benjamini_hochberg(p_single)[feature, column],
        }
    )
    order = np.lexsort((-pairs["auroc"], pairs["p_value"], pairs["feature"]))
    return pairs.iloc[order].reset_index(drop=True)
