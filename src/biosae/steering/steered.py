"""steered.h5ad: embeddings of the unedited model and of every setting, aligned to features.h5ad."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
from anndata.io import read_elem, write_elem

from biosae.artefacts import atomic_write
from biosae.errors import ArtefactError

from .setting import Setting

FORMAT = 1
MADE_BY = "biosae steer"
ORIGINAL = "original"


def write_steered(
    path: Path,
    obs: pd.DataFrame,
    embeddings: Iterable[tuple[str, np.ndarray, np.ndarray]],
    settings: dict[str, Setting],
    provenance: dict,
) -> None:
    """Writes one embedding after the other; memory holds one of them.

    Parameters
    ----------
    embeddings
        Key, rows that were embedded (the others become NaN) and ``(n_rows, d)`` array, the original among them.
    provenance
        ``sae_hash``, ``features_hash``, ``model``, ``layer``, ``samples`` (parts), and what else a reader should know.
    """
    described = [{"key": key, **asdict(setting)} for key, setting in settings.items()]
    with atomic_write(path) as temporary, h5py.File(temporary, "w") as file:
        file.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
        write_elem(file, "obs", obs)
        write_elem(file, "var", pd.DataFrame(index=pd.Index([], dtype=str)))
        write_elem(file, "obsm", {})
        for key, rows, embedding in embeddings:
            whole = np.full((len(obs), embedding.shape[1]), np.nan, dtype=np.float32)
            whole[rows] = embedding
            write_elem(file, f"obsm/{key}", whole, dataset_kwargs={"compression": "gzip", "compression_opts": 1})
        write_elem(file, "uns", {"biosae": {"format": FORMAT, **provenance, "settings": json.dumps(described)}})


def read_steered(path: Path) -> tuple[anndata.AnnData, pd.DataFrame]:
    """The embeddings, and one row a setting.

    Raises
    ------
    ArtefactError
        If the file is missing, damaged or of another format.
    """
    with _reading(path):
        steered = anndata.read_h5ad(path)
    found = steered.uns.get("biosae", {}).get("format")
    if found != FORMAT:
        raise ArtefactError(f"{path} has format {found}, expected {FORMAT}; make it again with `{MADE_BY}`")
    return steered, pd.DataFrame(json.loads(steered.uns["biosae"]["settings"]))


def read_steered_obs(path: Path) -> pd.DataFrame:
    """The annotations of the samples alone, without their embeddings; raises what `read_steered` does."""
    with _reading(path), h5py.File(path, "r") as file:
        return read_elem(file["obs"])


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    if not Path(path).exists():
        toward = " without steer.perturbation.key" if Path(path).with_name("perturbation.h5ad").exists() else ""
        raise ArtefactError(f"{path} does not exist; make it with `{MADE_BY}`{toward}")
    try:
        yield
    except (OSError, KeyError, ValueError) as error:
        raise ArtefactError(f"{path} cannot be read ({error}); make it again with `{MADE_BY}`") from error
