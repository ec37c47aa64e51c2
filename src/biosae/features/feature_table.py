"""The feature table features.h5ad: samples x features, written block by block, opened with checks."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
from anndata.io import sparse_dataset, write_elem

from biosae.artefacts import atomic_write, damaged
from biosae.errors import ArtefactError, reason_of

from .origin import FORMAT, MADE_BY, read_origin
from .pool import PooledCodes

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
        obs = obs.assign(biosae_n_tokens=np.concatenate(tokens_of_sample))
        var = pd.DataFrame({"frequency_token": frequency, "max_code": largest}, index=names)
        write_elem(file, "obs", obs)
        write_elem(file, "var", var)
        write_elem(file, "obsm", obsm)
        made = {"format": FORMAT, "pooling": "max", **provenance, "content_hash": _hash_of(obs, var, obsm)}
        write_elem(file, "uns", {"biosae": made})


def read_feature_table(path: Path) -> anndata.AnnData:
    """Return the feature table in memory.

    In a run folder it must be of the run's SAE.

    Raises
    ------
    ArtefactError
        If it is missing, damaged, of a newer format, not a feature table, or of another SAE.
    """
    path = Path(path)
    made = read_origin(path)
    try:
        table = anndata.read_h5ad(path)
        _check_content(path, table, made.get("content_hash"))
    except ArtefactError:
        raise
    except Exception as error:  # HDF5 and its readers raise whatever damaged attributes cause
        raise damaged(path, reason_of(error), MADE_BY) from error
    table.uns["biosae"] = made
    return table


def _check_content(path: Path, table: anndata.AnnData, expected: str | None) -> None:
    """Raise unless the table has what every reader needs."""
    lacking = [name for name in LAYERS if name not in table.layers]
    lacking += [name for name in ("biosae_part", "biosae_n_tokens") if name not in table.obs]
    if lacking:
        raise ArtefactError(f"{path} lacks {', '.join(lacking)}; make it again with {MADE_BY}")
    if not np.issubdtype(table.obs["biosae_n_tokens"].dtype, np.number):
        raise damaged(path, "its column biosae_n_tokens must hold numbers", MADE_BY)
    if expected is not None and expected != _hash_of(table.obs, table.var, table.obsm):
        raise ArtefactError(f"{path} was changed since it was written; make it again with {MADE_BY}")


def _hash_of(obs: pd.DataFrame, var: pd.DataFrame, obsm: Mapping[str, np.ndarray]) -> str:
    """Return a hash of samples, parts, features and the model's embeddings; the codes have checksums of HDF5.

    Columns of the samples' annotations may be added or changed.
    """
    digest = hashlib.sha256()
    for texts in (obs.index, obs["biosae_part"], var.index):
        digest.update("\n".join(map(str, texts)).encode())
    arrays = [(obs["biosae_n_tokens"], np.int64), (var["frequency_token"], np.float64), (var["max_code"], np.float32)]
    arrays += [(obsm["X_model"], np.float32)] if "X_model" in obsm else []
    for array, dtype in arrays:
        digest.update(np.ascontiguousarray(array, dtype))
    return digest.hexdigest()[:16]


def _append(file: h5py.File, matrices: dict) -> None:
    for place, matrix in matrices.items():
        if place in file:
            sparse_dataset(file[place]).append(matrix)
        else:
            write_elem(file, place, matrix, dataset_kwargs={"compression": "gzip"})
