"""Homology clusters of proteins, so that relatives are never on both sides of a split."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from biosae.errors import DataError

from .fasta import accession


def read_clusters(groups: Path | str, ids: list[str]) -> np.ndarray:
    """Return the cluster of each protein, ``(n,)``, from two columns separated by a tab, without a header.

    ``id <tab> cluster`` and MMseqs2's ``representative <tab> member`` are both read: the column of ids is
    the one that names every protein once.

    Raises
    ------
    DataError
        If the file is missing, has no two columns, or neither column names every protein once.
    """
    path = Path(groups).expanduser()
    table = _read(path)
    ways = [table.set_index(0)[1], table.set_index(1)[0]]
    for cluster_of in ways:
        if cluster_of.index.is_unique and set(ids) <= set(cluster_of.index):
            return cluster_of.loc[ids].to_numpy(dtype=object)
    missing = min((sorted(set(ids) - set(way.index)) for way in ways), key=len)
    if missing:
        raise DataError(f"{path} has no cluster for {len(missing)} of the proteins, for example {missing[0]}")
    raise DataError(f"{path} puts some proteins into two clusters; each must stand in one row, as id <tab> cluster")


def _read(path: Path) -> pd.DataFrame:
    try:
        table = pd.read_csv(path, sep="\t", header=None, dtype=str, keep_default_na=False)
    except FileNotFoundError:
        raise DataError(f"groups: {path} does not exist", argument="groups") from None
    except (OSError, ValueError) as error:
        message = f"groups: {path} cannot be read: {' '.join(str(error).split())}"
        raise DataError(message, argument="groups") from error
    if table.shape[1] != 2:
        message = f"groups: {path} must have two columns, id <tab> cluster, got {table.shape[1]}"
        raise DataError(message, argument="groups")
    return table.map(accession).drop_duplicates()
