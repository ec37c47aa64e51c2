"""The feature table features.h5ad: samples x features, written block by block, opened with checks."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
from anndata.io import read_elem, sparse_dataset, write_elem
from scipy import sparse

from biosae.artefacts import atomic_write, damaged
from biosae.errors import ArtefactError

from .origin import FORMAT, MADE_BY, read_origin
from .pool import PooledCodes
from .stored_rows import ROWS_PER_BLOCK, dense_rows, in_blocks, opened, sparse_blocks, sparse_rows

LAYERS = ("mean", "sum", "fraction_active")
MATRICES = ("X", *LAYERS)
EVERYTHING = (*MATRICES, "obsm")
ANNOTATIONS = ("obs", "var", "varm", "varp", "uns")


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
        made = {
            "format": FORMAT,
            "pooling": "max",
            **provenance,
            "content_hash": _hash_of(obs, var, obsm.get("X_model")),
        }
        write_elem(file, "uns", {"biosae": made})


def read_feature_table(
    path: Path, content: Sequence[str] = EVERYTHING, rows: np.ndarray | None = None
) -> anndata.AnnData:
    """Return the feature table, or a part of it, in memory.

    In a run folder it must be of the run's SAE.

    Parameters
    ----------
    content
        What to read beside the annotations: some of `EVERYTHING`.
    rows
        ``(n,)`` ascending rows of the samples to return; None returns all.

    Raises
    ------
    ArtefactError
        If it is missing, damaged, of a newer format, not a feature table, or of another SAE.
    """
    made = read_origin(path)
    with opened(path) as file:
        table = _annotated(file, made)
        table = table if rows is None else table[rows].copy()
        for name in content:
            if name == "obsm":
                table.obsm = {key: dense_rows(file["obsm"][key], rows) for key in file.get("obsm", ())}
            else:
                _put(table, name, sparse_rows(file[_place(name)], rows))
        return table


def feature_blocks(path: Path, matrices: Sequence[str], rows: np.ndarray) -> Iterator[anndata.AnnData]:
    """Yield some samples of the feature table in blocks, however many there are in all.

    Parameters
    ----------
    matrices, rows
        As for `read_feature_table`, whose errors are raised here, too.
    """
    made = read_origin(path)
    with opened(path) as file:
        obs, var = _annotated(file, made).obs, read_elem(file["var"])
        streams = [sparse_blocks(file[_place(name)], rows) for name in matrices]
        for chosen, *found in zip(in_blocks(rows), *streams, strict=True):
            block = anndata.AnnData(obs=obs.iloc[chosen], var=var)
            for name, matrix in zip(matrices, found, strict=True):
                _put(block, name, matrix)
            yield block


def _annotated(file: h5py.File, made: dict) -> anndata.AnnData:
    """Return the table without its matrices; ``made`` is its origin."""
    path = Path(file.filename)
    table = anndata.AnnData(**{name: read_elem(file[name]) for name in ANNOTATIONS if name in file})
    _check_content(path, table, file, made.get("content_hash"))
    table.uns["biosae"] = made
    return table


def _put(table: anndata.AnnData, name: str, matrix: sparse.csr_matrix) -> None:
    if name == "X":
        table.X = matrix
    else:
        table.layers[name] = matrix


def _place(name: str) -> str:
    return name if name == "X" else f"layers/{name}"


def _check_content(path: Path, table: anndata.AnnData, file: h5py.File, expected: str | None) -> None:
    """Raise unless the table has what every reader needs."""
    lacking = [name for name in MATRICES if _place(name) not in file]
    lacking += [name for name in ("biosae_part", "biosae_n_tokens") if name not in table.obs]
    if lacking:
        raise ArtefactError(f"{path} lacks {', '.join(lacking)}; make it again with {MADE_BY}")
    if not np.issubdtype(table.obs["biosae_n_tokens"].dtype, np.number):
        raise damaged(path, "its column biosae_n_tokens must hold numbers", MADE_BY)
    embedding = file["obsm/X_model"] if "obsm/X_model" in file else None
    if expected is not None and expected != _hash_of(table.obs, table.var, embedding):
        raise ArtefactError(f"{path} was changed since it was written; make it again with {MADE_BY}")


def _hash_of(obs: pd.DataFrame, var: pd.DataFrame, embedding: np.ndarray | h5py.Dataset | None) -> str:
    """Return a hash of samples, parts, features and the model's embeddings; the codes have checksums of HDF5.

    Columns of the samples' annotations may be added or changed.
    """
    digest = hashlib.sha256()
    for texts in (obs.index, obs["biosae_part"], var.index):
        digest.update("\n".join(map(str, texts)).encode())
    arrays = [(obs["biosae_n_tokens"], np.int64), (var["frequency_token"], np.float64), (var["max_code"], np.float32)]
    for array, dtype in arrays:
        digest.update(np.ascontiguousarray(array, dtype))
    for first in range(0, 0 if embedding is None else len(embedding), ROWS_PER_BLOCK):
        digest.update(np.ascontiguousarray(embedding[first : first + ROWS_PER_BLOCK], np.float32))
    return digest.hexdigest()[:16]


def _append(file: h5py.File, matrices: dict) -> None:
    for place, matrix in matrices.items():
        if place in file:
            sparse_dataset(file[place]).append(matrix)
        else:
            write_elem(file, place, matrix, dataset_kwargs={"compression": "gzip"})
