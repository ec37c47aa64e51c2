"""Gene families that are told from the symbol: the usual suspects behind a feature."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
from scipy import sparse

PATTERNS = {
    "ribosomal": r"RP[LS]\d+([AXL]|AX?L?|Y\d)?$|RPLP[0-2]$|RPSA$|RPS27L$|FAU$|UBA52$",
    "mitochondrial": r"MT-",
    "HLA": r"HLA-(?!.*-AS)|B2M$",
    "T-cell receptor": r"TR[ABGD]([VJ][\d/DV-]+[A-Z]?\d*|D\d+|C\d?)$",
    "immunoglobulin": r"IG[HKL]([VJ][\d/ODRV-]+[A-Z]?|D\d[\d/OR-]*[AB]?|C\d?)$|IGH[ADEGM]\d?$|JCHAIN$",
    "histone": r"H1-\d+$|MACROH2A\d$|H2A[CB]\d+$|H2A[JLWXZPQ]\d*$|H2B[CWKLU]\d+$|H3-\d[ABC]?$|H[34]C\d+$|H4-16$|HIST\d",
    "metallothionein": r"MT1[ABEFGHMX]$|MT2A$|MT[34]$",
    "heat shock": r"HSP[ABCDEH]\d+[A-Z]*\d*[A-Z]?\d?$|HSP90[AB]|DNAJ[ABC]\d+[A-Z]?$",
}
"""Approved human symbols (HGNC gene groups), matched from the start of the symbol."""


def family_members(symbols: np.ndarray, extra: dict[str, list[str]]) -> dict[str, np.ndarray]:
    """``(n_symbols,) bool`` for every family: those of `PATTERNS` and the user's own lists of symbols."""
    patterns = {name: re.compile(pattern) for name, pattern in PATTERNS.items()}
    found = {name: np.array([bool(p.match(s)) for s in symbols], dtype=bool) for name, p in patterns.items()}
    return found | {name: np.isin(symbols, list(genes)) for name, genes in extra.items()}


def family_scores(
    total: sparse.csr_matrix, n_tokens: np.ndarray, symbols: np.ndarray, extra: dict[str, list[str]]
) -> pd.DataFrame:
    """One row a feature: the columns of ``families`` in docs/formats.md.

    For each family the share of the feature's summed activation on its genes; ``family`` is the
    one that exceeds its share of all tokens most (in share), ``excess`` by how much. Empty for a
    feature that never fires; ``family`` is empty when none exceeds.

    Parameters
    ----------
    total
        ``(d_sae, n_vocabulary)`` summed code by feature and gene.
    n_tokens
        ``(n_vocabulary,)`` tokens of each gene.
    extra
        Further families: name to symbols.
    """
    members = family_members(symbols, extra)
    indicator = np.column_stack(list(members.values())).astype(np.float64)  # (n_vocabulary, n_families)
    whole = np.asarray(total.sum(axis=1), dtype=np.float64).ravel()
    share = np.divide(
        total @ indicator,
        whole.reshape(-1, 1),
        out=np.full((len(whole), len(members)), np.nan),
        where=whole.reshape(-1, 1) > 0,
    )
    excess = share - n_tokens @ indicator / n_tokens.sum()
    best = np.where(np.isnan(excess), -np.inf, excess).argmax(axis=1)
    largest = excess[np.arange(len(best)), best]
    family = np.where(largest > 0, np.array(list(members), dtype=object)[best], None)
    columns = {"family": family, "excess": np.where(largest > 0, largest, np.nan)}
    columns |= {name: share[:, i] for i, name in enumerate(members)}
    return pd.DataFrame(columns).rename_axis("feature")
