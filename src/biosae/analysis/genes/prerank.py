"""Gene set enrichment analysis of one feature over all genes, through gseapy (extra ``enrich``)."""

from __future__ import annotations

import numpy as np
import pandas as pd

from biosae.analysis.stats.fdr import benjamini_hochberg
from biosae.errors import DataError, require
from biosae.progress import progress_bar

from .gene_sets import GeneSets


def prerank(mean_code: np.ndarray, symbols: np.ndarray, sets: GeneSets, n_permutations: int, seed: int) -> pd.DataFrame:
    """GSEA (Subramanian et al. 2005) of all genes in the order of a feature's mean code.

    Takes seconds for fifty sets and about a minute for five thousand, so it is for chosen features.

    Parameters
    ----------
    mean_code
        ``(n_genes,)`` mean code over all tokens of each background gene, silent tokens counting 0.
    symbols
        ``(n_genes,)``.
    n_permutations
        Of the genes, for p-values and FDR.

    Returns
    -------
    ``set``, ``source``, ``es``, ``nes``, ``p_value``, ``q_value`` (FDR within this feature), best first.

    Raises
    ------
    DataError
        If the feature fires on no gene or no set has enough of the genes.
    MissingExtraError
        If gseapy is not installed.
    """
    gseapy = require("gseapy", extra="enrich")
    if not np.any(mean_code > 0):
        raise DataError("a feature that fires on no gene gives no ranking of genes")
    ranking = _ranking(mean_code, symbols)
    named = {
        f"{source}\t{name}": list(genes)
        for name, source, genes in zip(sets.names, sets.sources, sets.genes, strict=True)
    }
    try:
        result = gseapy.prerank(
            rnk=ranking, gene_sets=named, permutation_num=n_permutations, seed=seed,
            min_size=5, max_size=500, threads=1, outdir=None, no_plot=True,
        ).res2d  # fmt: skip
    except LookupError as error:
        raise DataError("no gene set has 5 to 500 of the genes that the model emits here") from error
    source, name = zip(*(term.split("\t") for term in result["Term"]), strict=True)
    columns = {"set": name, "source": source, "es": result["ES"], "nes": result["NES"]}
    columns |= {"p_value": result["NOM p-val"], "q_value": result["FDR q-val"]}
    table = pd.DataFrame(columns).astype({"es": float, "nes": float, "p_value": float, "q_value": float})
    table["p_value"] = table["p_value"].clip(lower=1 / (n_permutations + 1))  # gseapy gives 0 where none was larger
    return table.sort_values(["q_value", "nes"], ascending=[True, False], ignore_index=True)


def prerank_of_features(
    features: list[int], mean_code: np.ndarray, symbols: np.ndarray, sets: GeneSets, n_permutations: int, seed: int
) -> pd.DataFrame:
    """`prerank` of several features: the columns of tables/prerank.csv in docs/formats.md.

    Parameters
    ----------
    mean_code
        ``(n_features, n_genes)``; features that fire on no gene are left out.

    Raises
    ------
    DataError
        If no set has enough of the genes.
    """
    found = []
    with progress_bar("GSEA", len(features), "features") as advance:
        for feature, own in zip(features, mean_code, strict=True):
            if np.any(own > 0):
                table = prerank(own, symbols, sets, n_permutations, seed).rename(columns={"q_value": "fdr"})
                found.append(table.assign(feature=feature))
            advance()
    if not found:
        raise DataError("none of the features fires on a gene")
    table = pd.concat(found, ignore_index=True)
    table["q_value"] = benjamini_hochberg(table["p_value"].to_numpy())
    return table[["feature", "set", "source", "es", "nes", "p_value", "fdr", "q_value"]]


def _ranking(mean_code: np.ndarray, symbols: np.ndarray) -> pd.Series:
    """One line a symbol, the largest code first; equal genes by symbol, as ties would leave their order to chance."""
    ranking = pd.Series(mean_code, index=symbols)[symbols != ""].groupby(level=0).max()
    ranking = ranking.sort_index().sort_values(ascending=False, kind="stable")
    return ranking - 1e-12 * ranking.iloc[0] * np.arange(len(ranking))
