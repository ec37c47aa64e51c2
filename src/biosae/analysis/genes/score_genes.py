"""The gene scores of a run: genes, families, gene sets by over-representation and by rank."""

from __future__ import annotations

import logging
from collections import Counter

import numpy as np
import pandas as pd

from biosae.analysis.results import Results

from .enrichment import enrichment
from .gene_scores import gene_scores, gene_table
from .gene_sets import (
    MAX_SET,
    MIN_SET,
    GeneSets,
    family_members,
    gene_family_scores,
    hallmark_sets,
    packaged_gene_sets,
)
from .rank_enrichment import rank_enrichment
from .token_sums import TokenSums

logger = logging.getLogger(__name__)

MAX_RANKED_SETS = 200


def score_genes(
    results: Results,
    sums: TokenSums,
    vocabulary: pd.DataFrame,
    sets: GeneSets,
    families: dict[str, list[str]],
    rows: np.ndarray,
    n_permutations: int,
    seed: int,
) -> None:
    """Genes, and where tokens are genes also their families and sets.

    Parameters
    ----------
    sets
        The user's own, tested beside those that come with the package.
    """
    results.tables["genes"] = gene_table(sums, vocabulary)
    results.add("genes", gene_scores(sums, results.tables["genes"]), rows)
    symbols = symbols_of_tokens(sums, vocabulary)
    seen = symbols[sums.n_tokens > 0]
    if any(members.any() for members in family_members(seen, families).values()):
        results.add("families", gene_family_scores(sums.total, sums.n_tokens, symbols, families), rows)
    _score_sets(results, sums, symbols, sets, rows, n_permutations, seed)


def _score_sets(
    results: Results,
    sums: TokenSums,
    symbols: np.ndarray,
    sets: GeneSets,
    rows: np.ndarray,
    n_permutations: int,
    seed: int,
) -> None:
    """Gene sets by the top genes of each feature, and by the rank of all genes."""
    seen = symbols[sums.n_tokens > 0]
    packaged, ranked_sets = packaged_gene_sets(), hallmark_sets() + of_small_files(sets)
    sets = packaged + sets
    if sets.membership(seen).nnz == 0:  # residues, or genes under other names
        logger.info("none of the %d tokens seen is a gene of any set, so no set is tested", len(seen))
        return
    found = enrichment(sums.total, sums.n_tokens, symbols, sets, seed)
    results.summary["enrichment"] = found.summary()
    for source in found.sources_left_out:
        logger.warning("%s: none of its sets has %d to %d of the genes in these samples", source, MIN_SET, MAX_SET)
    if found.n_sets == 0:
        logger.warning("no gene set has enough of the %d genes in these samples, so none is tested", len(seen))
        return
    results.add("enrichment", found.scores, rows)
    results.tables["enrichment"] = found.table
    logger.info("gene sets: %d tests, %d genes in the background", found.n_tests, found.n_background)
    for source in sorted({*sets.sources} - {*packaged.sources, *ranked_sets.sources}):
        logger.warning("%s has more than %d sets: tests by rank leave it out", source, MAX_RANKED_SETS)
    by_rank = rank_enrichment(sums.total, sums.n_tokens, symbols, ranked_sets, n_permutations, seed)
    if by_rank.n_sets:
        results.add("enrichment_by_rank", by_rank.scores, rows)
        results.tables["enrichment_by_rank"] = by_rank.table
        results.summary["enrichment_by_rank"] = by_rank.summary()
        logger.info("gene sets by rank: %d tests", by_rank.n_tests)


def of_small_files(sets: GeneSets) -> GeneSets:
    """Walking over all genes takes long for thousands of sets, so files of more than `MAX_RANKED_SETS` are left out."""
    n_sets = Counter(sets.sources)
    return sets.chosen([i for i, source in enumerate(sets.sources) if n_sets[source] <= MAX_RANKED_SETS])


def symbols_of_tokens(sums: TokenSums, vocabulary: pd.DataFrame) -> np.ndarray:
    """``(n_vocabulary,)`` symbol of each token; empty where there is none."""
    names = vocabulary.set_index("token")["name"]
    return names.reindex(range(len(sums.n_tokens))).fillna("").to_numpy(dtype=object)
