"""Rows of var that are genes, beside antibodies, peaks, guides and spike-ins."""

from __future__ import annotations

import numpy as np
import pandas as pd

from biosae.errors import DataError

from .text import as_text

COLUMNS = ("feature_types", "feature_type", "feature_biotype", "modality")
GENES = {"gene expression", "gene", "genes", "rna", "gex"}
OTHERS = {
    "antibody capture", "crispr guide capture", "multiplexing capture", "custom", "peaks", "antigen capture",
    "protein expression", "spike-in", "adt", "hto", "prot", "atac",
}  # fmt: skip
"""Kinds of rows, in small letters: of Cell Ranger, of the Census (``feature_biotype``) and of muon."""


def gene_rows(var: pd.DataFrame) -> tuple[np.ndarray, list[str]]:
    """Return the rows that are genes, ascending, and a sentence for each column that tells others.

    A column tells when it calls some row a gene: another column of that name may hold biotypes (``protein_coding``).
    Rows for which it has no value are kept.

    Raises
    ------
    DataError
        If every row is of another kind.
    """
    kept, sentences = np.ones(len(var), dtype=bool), []
    for column in COLUMNS:
        if column not in var:
            continue
        kind = as_text(var[column])
        name = kind.str.lower()
        is_gene = name.isin(GENES).to_numpy()
        if not is_gene.any() and len(var) and name.isin(OTHERS).all():
            message = f'no row of var is a gene: var["{column}"] holds {", ".join(kind.unique()[:3])}'
            raise DataError(f"{message}; the models read the matrix of gene expression")
        other = kept & ~is_gene & (name != "").to_numpy()
        if is_gene.any() and other.any():
            sentences.append(f"{_counted(kind[other])} rows left out")
            kept &= ~other
    return np.flatnonzero(kept), sentences


def _counted(kinds: pd.Series) -> str:
    return ", ".join(f"{n:,} {kind}" for kind, n in kinds.value_counts().items())
