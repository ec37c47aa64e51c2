"""Annotation tables of proteins: one row per protein, one column per kind of annotation."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from biosae.errors import DataError

from .fasta import accession
from .feature_tables import feature_columns, features_in, is_feature_file, read_features, terms_of

FEATURES = "features"
"""Name of the column made from a feature table."""

NO_FEATURE = "none"
"""Term of a protein whose row names no feature: it was annotated, and has none."""


def read_annotations(annotations: Path | str, id_column: str | None, ids: list[str]) -> pd.DataFrame:
    """Return the rows of a table for the given proteins, in their order; empty where it has none.

    Text columns become categories. A cell may hold several terms separated by ``;``. UniProt's feature tables
    (`feature_tables`) become the column `FEATURES`, whose terms are those that a protein has at any residue.

    Parameters
    ----------
    annotations
        A CSV or TSV file (``.gz`` too), or a feature table of UniProt.
    id_column
        Column with the protein ids; the first by default.

    Raises
    ------
    DataError
        If the file or the column is missing, a protein has two rows, or no protein has one.
    """
    path = Path(annotations).expanduser()
    table = _read(path)
    id_column = table.columns[0] if id_column is None else id_column
    if id_column not in table:
        message = f"id_column: {path} has no column {id_column}; it has {', '.join(table.columns)}"
        raise DataError(message, argument="id_column")
    table = table.set_index(table.pop(id_column).astype(str).map(accession))
    known = table[table.index.isin(set(ids))]
    if known.empty:
        some = f"it has {table.index[0]}, the data {ids[0]}" if len(table) else "it is empty"
        message = f"{path} annotates none of the {len(ids):,} proteins; for example {some}; see id_column"
        raise DataError(message, argument="id_column")
    if not known.index.is_unique:
        repeated = known.index[known.index.duplicated()][0]
        raise DataError(f"{path} has several rows for a protein, for example {repeated}; join its terms by ';'")
    return known.reindex(ids).apply(_storable)


def _read(path: Path) -> pd.DataFrame:
    if is_feature_file(path):
        return terms_of(read_features(path, "annotations")).rename(FEATURES).rename_axis("id").reset_index()
    table = read_table(path, "annotations")
    columns = feature_columns(table)
    if not columns:
        return table
    terms = table.iloc[:, 0].astype(str).map(accession).map(terms_of(features_in(table)))
    return table.drop(columns=columns).assign(**{FEATURES: terms.fillna(NO_FEATURE)})


def read_table(path: Path | str, argument: str) -> pd.DataFrame:
    """Read a table with a header, separated by commas (``.csv``) or tabs; errors are about ``argument``."""
    path = Path(path).expanduser()
    separator = "," if path.name.removesuffix(".gz").endswith(".csv") else "\t"
    try:
        return pd.read_csv(path, sep=separator, low_memory=False)
    except FileNotFoundError:
        raise DataError(f"{argument}: {path} does not exist", argument) from None
    except (OSError, EOFError, ValueError) as error:
        message = f"{argument}: {path} cannot be read: {' '.join(str(error).split())}"
        raise DataError(message, argument) from error


def _storable(column: pd.Series) -> pd.Series:
    """Return text as categories; numbers stay numbers."""
    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
        return column
    return column.where(column.isna(), column.astype(str)).astype("category")
