"""Sites and domains of proteins, as stretches of residues."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from biosae.errors import DataError

from .annotations import read_table, without_row_numbers
from .fasta import accession, isoform_advice, parent_of
from .feature_concepts import chosen, ends_of_bonds, named, with_groups
from .feature_tables import feature_columns, features_in, is_feature_file, placed, read_features

logger = logging.getLogger(__name__)

COLUMNS = ("sample", "start", "end", "concept", "object")
NEEDED = ("start", "end", "type")


def read_spans(
    residues: Path | str,
    ids: list[str],
    lengths: np.ndarray,
    types: Sequence[str] | None = None,
    match_isoforms: bool = False,
) -> pd.DataFrame:
    """Read annotated stretches of residues.

    Read are UniProt's feature tables (`feature_tables`) and tables with the columns ``id`` (or any first column),
    ``start``, ``end``, ``type`` and perhaps ``note``. A stretch is one of its ``type``; a note that names a group
    (`group_of`) makes it one of ``type: group`` too. Of disulfide bonds and cross-links the two ends are stretches.

    Parameters
    ----------
    lengths
        ``(n,)`` residues of each protein; a stretch that reaches further is refused.
    types
        Types to keep; None for all but those of the record and of other sequences (`NOT_CONCEPTS`).
    match_isoforms
        An isoform (``P12345-2``) without rows of its own has those of its parent.

    Returns
    -------
    One row per stretch: ``sample`` (row), ``start`` and ``end`` (from 1, inclusive), ``concept``, and ``object``, which
    the two ends of a bond share.

    Raises
    ------
    DataError
        If the file cannot be read, a column is missing, positions are no numbers or lie outside their protein, or
        none of the proteins is annotated.
    """
    path = Path(residues).expanduser()
    table = _read(path)
    table = pd.concat([table, *_of_parents(table, ids)]) if match_isoforms else table
    number = pd.Series(range(len(ids)), index=ids)
    table = table[table["id"].isin(number.index)]
    if table.empty:
        message = f"residues: {path} annotates none of the {len(ids):,} proteins; its first column names them"
        raise DataError(message + isoform_advice(ids, match_isoforms), argument="residues")
    table = table.assign(sample=number[table["id"]].to_numpy())
    _check_positions(table, path, lengths)
    logger.info("%s of %s proteins have annotated residues", f"{table['id'].nunique():,}", f"{len(ids):,}")
    kept = chosen(table.astype({"start": int, "end": int}), types)
    if kept.empty:
        message = f"residues: {path} has only {', '.join(sorted(set(table['type'])))}, which mark no residues"
        raise DataError(f"{message}; residue_types=[all] keeps them", argument="residues")
    features = with_groups(kept)[["sample", "start", "end", "type"]].drop_duplicates()
    features = features.sort_values(["sample", "start", "end", "type"], ignore_index=True)
    return ends_of_bonds(features).rename(columns={"type": "concept"})[list(COLUMNS)]


def _of_parents(table: pd.DataFrame, ids: list[str]) -> list[pd.DataFrame]:
    """The rows of the parents of isoforms, once for each isoform that has none."""
    own = set(table["id"])
    parents = {name: parent for name in ids if (parent := parent_of(name)) != name and name not in own}
    return [table[table["id"] == parent].assign(id=name) for name, parent in parents.items()]


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
    table = pd.DataFrame({**text, **{name: table[name].fillna("").str.strip() for name in ("start", "end")}})
    table = table.assign(id=table["id"].map(accession), type=table["type"].map(named))
    return placed(table, keep_wrong=True)


def _check_positions(table: pd.DataFrame, path: Path | str, lengths: np.ndarray) -> None:
    start, end, length = table["start"], table["end"], lengths[table["sample"]]
    wrong = ~((start >= 1) & (start <= end) & (end <= length))
    if wrong.any():
        row = table[wrong].iloc[0]
        message = f"residues: {path} has {row['type']} of {row['id']} at {row['start']} to {row['end']}"
        message += f", outside its {lengths[row['sample']]} residues ({int(wrong.sum())} such rows)"
        raise DataError(message, argument="residues")
