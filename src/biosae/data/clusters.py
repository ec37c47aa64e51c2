"""Homology clusters of proteins, so that relatives are never on both sides of a split."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pandas as pd

from biosae.errors import DataError

from .fasta import UNIPROT_HEADER, accession


def read_clusters(groups: Path | str, ids: list[str]) -> np.ndarray:
    """Return the cluster of each protein, ``(n,)``, from two columns separated by a tab, without a header.

    ``id <tab> cluster`` and MMseqs2's ``representative <tab> member`` are both read: the column of ids is
    the one that names every protein once. All columns are text.

    Raises
    ------
    DataError
        If the file is missing, has no two columns, neither column names every protein once, or a cluster has no name.
    """
    path = Path(groups).expanduser()
    table = _read(path)
    ways = [_clusters_by(table, ids=0, clusters=1), _clusters_by(table, ids=1, clusters=0)]
    for cluster_of in ways:
        if cluster_of.index.is_unique and set(ids) <= set(cluster_of.index):
            found = cluster_of.loc[ids]
            if (found == "").any():
                message = f"groups: {path} leaves the cluster of {(found == '').sum()} proteins empty"
                raise DataError(f"{message}, for example {found.index[found == ''][0]}", argument="groups")
            return found.to_numpy(dtype=object)
    missing = min((sorted(set(ids) - set(way.index)) for way in ways), key=len)
    if missing:
        raise DataError(f"{path} has no cluster for {len(missing)} of the proteins, for example {missing[0]}")
    raise DataError(f"{path} puts some proteins into two clusters; each must stand in one row, as id <tab> cluster")


def _clusters_by(table: pd.DataFrame, ids: int, clusters: int) -> pd.Series:
    """Return the clusters of one column by the accessions of the other."""
    named = pd.DataFrame(
        {"id": table[ids].map(accession), "cluster": table[clusters].map(_cluster_name)}
    ).drop_duplicates()
    return named.set_index("id")["cluster"]


def _cluster_name(text: str) -> str:
    """Return the whole text, as of ``cluster 12``, or the accession in a UniProt header."""
    return accession(text) if UNIPROT_HEADER.match(text) else text.strip()


def _read(path: Path) -> pd.DataFrame:
    try:
        table = pd.read_csv(path, sep="\t", header=None, dtype=object, keep_default_na=False, encoding="utf-8-sig")
    except FileNotFoundError:
        raise DataError(f"groups: {path} does not exist", argument="groups") from None
    except (OSError, EOFError, ValueError, zlib.error) as error:
        message = f"groups: {path} cannot be read: {' '.join(str(error).split())}"
        raise DataError(message, argument="groups") from error
    if table.shape[1] != 2:
        message = f"groups: {path} must have two columns, id <tab> cluster, got {table.shape[1]}"
        raise DataError(message, argument="groups")
    return table
