"""The feature table features.h5ad: samples x features, written block by block, opened with checks."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
from anndata.io import sparse_dataset, write_elem

from biosae.artefacts import atomic_write
from biosae.errors import ArtefactError

from .pool import PooledCodes

FORMAT = 1
MADE_BY = "the features stage"
LAYERS = ("mean", "sum", "fraction_active")


def write_feature_table(
    path: Path,
    blocks: Iterable[PooledCodes],
    n_tokens: int,
    obs: pd.DataFrame,
    obsm: dict[str, np.ndarray],
    provenance: dict,
) -> None:
    """Writes features.h5ad from blocks of consecutive samples; memory holds one block at a time.

    Parameters
    ----------
    n_tokens
        Content tokens of all samples, the denominator of ``frequency_token``.
    obs
        One row per sample; gets the column ``biosae_n_tokens``, the sample's content tokens.
    """
    tokens_of_sample: list[np.ndarray] = []
    n_active = largest = 0.0
    with atomic_write(path) as temporary, h5py.File(temporary, "w") as file:
        file.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
        write_elem(file, "layers", {})
        for block in blocks:
            _append(file, {"X": block.max} | {f"layers/{name}": getattr(block, name) for name in LAYERS})
            tokens_of_sample.append(block.n_tokens)
            n_active = n_active + np.asarray(block.fraction_active.T @ block.n_tokens)
            largest = np.maximum(largest, block.max.max(axis=0).toarray().ravel())
        names = [f"f{feature}" for feature in range(len(n_active))]
        frequency = np.rint(n_active) / max(n_tokens, 1)
        write_elem(file, "obs", obs.assign(biosae_n_tokens=np.concatenate(tokens_of_sample)))
        write_elem(file, "var", pd.DataFrame({"frequency_token": frequency, "max_code": largest}, index=names))
        write_elem(file, "obsm", obsm)
        write_elem(file, "uns", {"biosae": {"format": FORMAT, "pooling": "max", **provenance}})


def read_feature_table(path: Path) -> anndata.AnnData:
    """The feature table in memory.

    Raises
    ------
    ArtefactError
        If it is missing, damaged, of another format or not a feature table.
    """
    path = Path(path)
    if not path.exists():
        raise ArtefactError(f"{path} does not exist; make it with {MADE_BY}")
    try:
        table = anndata.read_h5ad(path)
    except (OSError, KeyError, ValueError) as error:
        raise ArtefactError(f"{path} cannot be read ({error}); make it again with {MADE_BY}") from error
    found = table.uns.get("biosae", {}).get("format")
    if found != FORMAT:
        raise ArtefactError(f"{path} is not a feature table of format {FORMAT} (found {found}); make it with {MADE_BY}")
    lacking = [name for name in LAYERS if name not in table.layers]
    lacking += [name for name in ("biosae_part", "biosae_n_tokens") if name not in table.obs]
    if lacking:
        raise ArtefactError(f"{path} lacks {', '.join(lacking)}; make it again with {MADE_BY}")
    return table


def _append(file: h5py.File, matrices: dict) -> None:
    for place, matrix in matrices.items():
        if place in file:
            sparse_dataset(file[place]).append(matrix)
        else:
            write_elem(file, place, matrix, dataset_kwargs={"compression": "gzip"})
