"""Sites and domains of proteins, as stretches of residues."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pandas as pd

from biosae.errors import DataError

from .annotations import read_table, without_row_numbers
from .fasta import accession
from .feature_tables import feature_columns, features_in, is_feature_file, read_features, with_notes

logger = logging.getLogger(__name__)

COLUMNS = ("sample", "start", "end", "concept")
NEEDED = ("start", "end", "type")


def read_spans(residues: Path | str, ids: list[str], lengths: np.ndarray) -> pd.DataFrame:
    """Read annotated stretches of residues: ``sample`` (row), ``start`` and ``end`` (from 1, inclusive), ``concept``.

    Read are UniProt's feature tables (`feature_tables`) and tables with the columns ``id`` (or any first column),
    ``start``, ``end``, ``type`` and perhaps ``note``. A stretch is one of its ``type``; with a note it is also one of
    ``type: note``.

    Parameters
    ----------
    lengths
        ``(n,)`` residues of each protein; a stretch that reaches further is refused.

    Raises
    ------
    DataError
        If the file cannot be read, a column is missing, positions are no numbers or lie outside their protein, or
        none of the proteins is annotated.
    """
    path = Path(residues).expanduser()
    table = _read(path)
    number = pd.Series(range(len(ids)), index=ids)
    table = table[table["id"].isin(number.index)]
    if table.empty:
        message = f"residues: {path} annotates none of the {len(ids):,} proteins; its first column names them"
        raise DataError(message, argument="residues")
    table = table.assign(sample=number[table["id"]].to_numpy())
    _check_positions(table, path, lengths)
    logger.info("%s of %s proteins have annotated residues", f"{table['id'].nunique():,}", f"{len(ids):,}")
    spans = with_notes(table).rename(columns={"type": "concept"}).astype({"start": int, "end": int})
    return spans[list(COLUMNS)].drop_duplicates().sort_values(list(COLUMNS), ignore_index=True)


def _read(path: Path) -> pd.DataFrame:
    if is_feature_file(path):
        return read_features(path, "residues")
    table = without_row_numbers(read_table(path, "residues"), path)
    if feature_columns(table):
        return features_in(table)
    if "id" not in table:
        table = table.rename(columns={table.columns[0]: "id"})
    missing = [name for name in NEEDED if name not in table]
    if missing:
        has = ", ".join(map(str, table.columns))
        message = f"residues: {path} lacks the columns {', '.join(missing)}; it has {has}"
        raise DataError(message, argument="residues")
    if "note" not in table:
        table = table.assign(note="")
    text = {name: table[name].fillna("").str.strip() for name in ("id", "type", "note")}
    positions = {name: pd.to_numeric(table[name], errors="coerce") for name in ("start", "end")}
    return pd.DataFrame({**text, **positions}).assign(id=lambda t: t["id"].map(accession))


def _check_positions(table: pd.DataFrame, path: Path | str, lengths: np.ndarray) -> None:
    start, end, length = table["start"], table["end"], lengths[table["sample"]]
    wrong = ~((start >= 1) & (start <= end) & (end <= length))
    if wrong.any():
        row = table[wrong].iloc[0]
        message = f"residues: {path} has {row['type']} of {row['id']} at {row['start']} to {row['end']}"
        message += f", outside its {lengths[row['sample']]} residues ({int(wrong.sum())} such rows)"
        raise DataError(message, argument="residues")
