"""Small public data sets that come with biosae: a function per set returns the paths of its files.

Sources and licences are in the README.md beside the files.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import NamedTuple


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


def pbmc3k() -> Path:
    """Return the path of 2,638 labelled blood cells of one healthy donor, raw counts of 13,656 genes (AnnData)."""
    return _folder("biosae.data") / "embedded" / "pbmc3k.h5ad"


def pbmc_cite() -> Path:
    """Return the path of 311 blood cells of other donors, with classes from their surface proteins (AnnData)."""
    return _folder("biosae.datasets") / "pbmc_cite" / "pbmc_cite.h5ad"


def _folder(package: str) -> Path:
    return Path(str(resources.files(package)))
