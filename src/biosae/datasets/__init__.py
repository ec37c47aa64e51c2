"""Small public data sets that come with biosae.

Sources and licences are in the README.md beside the files.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import NamedTuple

import anndata

from biosae.errors import DataError


class EmbeddedProteins(NamedTuple):
    """An HDF5 file with one vector per protein, and a table of labels for the same proteins."""

    embeddings: Path
    annotations: Path


def three_finger_toxins() -> EmbeddedProteins:
    """Return the files of 1,421 three-finger toxins and Ly-6 proteins, embedded by ProtT5 (1,024 numbers each).

    The first column of the annotations, ``identifier``, holds the keys of the HDF5 file.
    """
    folder = _folder("biosae.datasets") / "three_finger_toxins"
    return EmbeddedProteins(folder / "prott5_3ftx_per_protein.h5", folder / "prott5_3ftx_annotations.csv.gz")


def pbmc3k() -> anndata.AnnData:
    """Return 2,638 labelled blood cells of one healthy donor, raw counts of 13,656 genes (10x Genomics).

    Examples
    --------
    >>> import biosae as bs
    >>> bs.datasets.pbmc3k().shape
    (2638, 13656)
    """
    return anndata.read_h5ad(pbmc3k_path())


def pbmc3k_path() -> Path:
    """Return the path of the file of `pbmc3k`."""
    return _folder("biosae.data") / "embedded" / "pbmc3k.h5ad"


def pbmc_cite() -> anndata.AnnData:
    """Return 311 blood cells of other donors, with classes from their surface proteins (10x Genomics)."""
    return anndata.read_h5ad(pbmc_cite_path())


def pbmc_cite_path() -> Path:
    """Return the path of the file of `pbmc_cite`."""
    return _folder("biosae.datasets") / "pbmc_cite" / "pbmc_cite.h5ad"


def kang(path: Path | str) -> anndata.AnnData:
    """Return the cells of Kang et al. (2018, GEO GSE96583), with and without interferon, from a file of yours.

    They are not in the package, because no redistribution licence is stated for their labels.

    Parameters
    ----------
    path
        An .h5ad with raw counts, as the data package ``kang_2018`` of pertpy writes it.

    Raises
    ------
    DataError
        If there is no such file.
    """
    if not Path(path).exists():
        message = f"{path} does not exist; get the cells of GEO GSE96583 (pertpy.data.kang_2018) and save them there"
        raise DataError(message, argument="path")
    return anndata.read_h5ad(path)


def _folder(package: str) -> Path:
    return Path(str(resources.files(package)))
