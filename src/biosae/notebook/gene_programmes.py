"""Genes of features as gene sets, one line per feature, for GSEApy, fgsea and decoupler."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from biosae.artefacts import atomic_write
from biosae.errors import DataError, SettingError


def write_gmt(path: Path, genes: pd.DataFrame | None, n: int) -> int:
    """Write the ``n`` genes that every feature reads most, by their share of its activation, and return how many sets.

    Parameters
    ----------
    path
        The file to write: name, description and genes of one feature per line, separated by tabs.
    genes
        ``feature``, ``gene`` and ``share``: tables/genes.csv of a run.
    n
        Genes per feature at most.

    Raises
    ------
    SettingError
        If ``n`` is below 1.
    DataError
        If the run has no table of genes.
    """
    if n < 1:
        raise SettingError(f"n must be at least 1, got {n}", argument="n")
    if genes is None:
        raise DataError("this run has no genes of its features; score a run of cells first")
    strongest = genes.dropna(subset="gene").sort_values(["feature", "share"], ascending=[True, False], kind="stable")
    sets = strongest.drop_duplicates(["feature", "gene"]).groupby("feature").head(n).groupby("feature")["gene"]
    with atomic_write(Path(path)) as temporary:
        text = "".join("\t".join([f"f{feature}", "genes it reads", *own]) + "\n" for feature, own in sets)
        temporary.write_text(text, encoding="utf-8")
    return sets.ngroups
