"""Annotation tables of proteins: one row per protein, one column per kind of annotation."""

from __future__ import annotations

import logging
import re
import zlib
from pathlib import Path

import numpy as np
import pandas as pd

from biosae.errors import DataError

from .fasta import accession, isoform_advice, parent_of
from .feature_tables import TEXT_ONLY, feature_columns, features_in, is_feature_file, read_features, terms_of

logger = logging.getLogger(__name__)

FEATURES = "features"
"""Name of the column made from a feature table."""

NO_FEATURE = "none"
"""Term of a protein whose row names no feature: it was annotated, and has none."""

MOST_TEXT_NUMBERS = 20
"""A column with no more different decimal fractions than these is text: names, such as those of enzyme classes."""

WHOLE = re.compile(r"0|-?[1-9]\d{0,14}")
DECIMAL = re.compile(r"-?(?:0|[1-9]\d{0,14})(?:\.(\d+))?(?:[eE][+-]?\d+)?")
ROW_NUMBER_NAMES = ("", "index")
"""Names, in lower case, of a first column that pandas and R write to number the rows."""


def read_annotations(
    annotations: Path | str, id_column: str | None, ids: list[str], match_isoforms: bool = False
) -> pd.DataFrame:
    """Return the rows of a table for the given proteins, in their order; empty where it has none.

    Text stays as it is written ("NA" is a word, 001 is not 1) and becomes categories; only an empty cell is missing.
    Numbers are the columns whose every value is written as one and could be written back as it stands: whole numbers,
    and decimal fractions of more than `MOST_TEXT_NUMBERS` different values. A cell may hold several terms separated
    by ``;``. UniProt's feature tables (`feature_tables`) become the column `FEATURES`, whose terms are those that a
    protein has at any residue. The log says how many proteins are annotated.

    Parameters
    ----------
    annotations
        A CSV or TSV file (``.gz`` too), or a feature table of UniProt.
    id_column
        Column with the protein ids; by default the first that does not merely number the rows.
    match_isoforms
        An isoform (``P12345-2``) without a row has that of its parent.

    Raises
    ------
    DataError
        If the file or the column is missing, a protein has two rows, or no protein has one.
    """
    path = Path(annotations).expanduser()
    table = _read(path, has_row_numbers=id_column is None)
    id_column = table.columns[0] if id_column is None else id_column
    if id_column not in table:
        message = f"id_column: {path} has no column {id_column}; it has {', '.join(table.columns)}"
        raise DataError(message, argument="id_column")
    table = table.set_index(table.pop(id_column).fillna("").map(accession))
    row_of = {name: _row_of(name, table.index, match_isoforms) for name in ids}
    known = table[table.index.isin(set(row_of.values()))]
    if known.empty:
        some = f"it has {table.index[0]}, the data {ids[0]}" if len(table) else "it is empty"
        message = f"{path} annotates none of the {len(ids):,} proteins; for example {some}; see id_column"
        raise DataError(message + isoform_advice(ids, match_isoforms), argument="id_column")
    if not known.index.is_unique:
        repeated = known.index[known.index.duplicated()][0]
        raise DataError(f"{path} has several rows for a protein, for example {repeated}; join its terms by ';'")
    found = known.reindex([row_of[name] for name in ids]).set_axis(ids)
    n_annotated = int(pd.Index(row_of.values()).isin(known.index).sum())
    logger.info("%s of %s proteins annotated by %s", f"{n_annotated:,}", f"{len(ids):,}", path.name)
    return found.apply(_storable)


def _row_of(name: str, rows: pd.Index, match_isoforms: bool) -> str:
    """The row of a protein: its own, or that of the parent of an isoform."""
    return parent_of(name) if match_isoforms and name not in rows else name


def _read(path: Path, has_row_numbers: bool) -> pd.DataFrame:
    if is_feature_file(path):
        features = read_features(path, "annotations")
        terms = terms_of(features).reindex(features["id"].unique()).fillna(NO_FEATURE)
        return terms.rename(FEATURES).rename_axis("id").reset_index()
    table = read_table(path, "annotations")
    if has_row_numbers:
        table = without_row_numbers(table, path)
    columns = feature_columns(table)
    if not columns:
        return table
    terms = table.iloc[:, 0].fillna("").map(accession).map(terms_of(features_in(table)))
    return table.drop(columns=columns).assign(**{FEATURES: terms.fillna(NO_FEATURE)})


def read_table(path: Path | str, argument: str) -> pd.DataFrame:
    """Read a table of text with a header, separated by commas (``.csv``) or tabs; errors are about ``argument``."""
    path = Path(path).expanduser()
    separator = "," if path.name.removesuffix(".gz").endswith(".csv") else "\t"
    try:
        table = pd.read_csv(path, sep=separator, **TEXT_ONLY)
    except FileNotFoundError:
        raise DataError(f"{argument}: {path} does not exist", argument) from None
    except (OSError, EOFError, ValueError, zlib.error) as error:
        message = f"{argument}: {path} cannot be read: {' '.join(str(error).split())}"
        raise DataError(message, argument) from error
    if not isinstance(table.index, pd.RangeIndex):  # one name fewer than columns, as R's write.table has it
        table = table.reset_index(names="")
    return table.rename(columns=lambda name: "" if str(name).startswith("Unnamed: ") else str(name))


def without_row_numbers(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Return a table without a first column that has no name and numbers the rows, as pandas and R write it."""
    first = table.columns[0]
    if first.lower() not in ROW_NUMBER_NAMES or len(table.columns) == 1:
        return table
    values = table.iloc[:, 0].dropna()
    if not (len(values) and values.is_unique and values.map(lambda text: bool(WHOLE.fullmatch(text))).all()):
        return table
    logger.info("%s: its first column numbers the rows; ids are read from %s", path.name, table.columns[1])
    return table.iloc[:, 1:]


def _storable(column: pd.Series) -> pd.Series:
    """Return text as categories, and numbers where none loses a digit by being read as one."""
    different = column.dropna().unique()
    if len(different) and all(WHOLE.fullmatch(text) for text in different):
        return pd.to_numeric(column)
    if len(different) > MOST_TEXT_NUMBERS and _are_decimals(different):
        return column.astype(np.float64)
    return column.astype("category")


def _are_decimals(texts: np.ndarray) -> bool:
    """True for numbers written alike, so that 1.1 and 1.10 are two words and not one number."""
    found = [DECIMAL.fullmatch(text) for text in texts]
    if not all(found):
        return False
    fractions = [one[1] or "" for one in found]
    have_one_length = len(set(map(len, fractions))) == 1
    as_python_writes = all(fraction == "0" or fraction[-1:] not in ("", "0") for fraction in fractions)
    without_final_zeros = not any(fraction.endswith("0") for fraction in fractions)
    return have_one_length or as_python_writes or without_final_zeros
