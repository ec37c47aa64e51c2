"""Embeddings of proteins that others computed, in HDF5 files: one dataset per protein."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import h5py
import numpy as np

from biosae.errors import DataError

from .fasta import accession
from .hdf5_heap import check_string_heaps
from .hdf5_index import Dataset, datasets

logger = logging.getLogger(__name__)

SUFFIXES = (".h5", ".hdf5")
MODEL_ATTRIBUTES = ("model", "model_name")
ORIGINAL_ID = "original_id"
"""Attribute with the id in the FASTA file, where keys are running numbers or hashes (bio_embeddings)."""

NARROW = 16
"""Matrices of equally many rows and fewer columns than this are taken for vectors that were stored as columns."""


@dataclass(frozen=True)
class Vectors:
    """The proteins of one or several files, found but not read.

    Attributes
    ----------
    ids
        Name of each protein: its attribute ``original_id`` where all have one, else its key; of a UniProt name the
        accession.
    n_rows
        ``(n,) int64`` rows of each: 1 for one vector per protein, the residues for a matrix.
    d
        Width.
    model
        The model that made them, where the files name it.
    """

    files: list[Path]
    ids: list[str]
    n_rows: np.ndarray
    d: int
    model: str | None
    _places: list[tuple[int, Dataset]]

    @property
    def is_per_residue(self) -> bool:
        return bool((self.n_rows > 1).any())

    def chosen(self, rows: list[int]) -> Vectors:
        """Some of the proteins."""
        ids, places = [self.ids[row] for row in rows], [self._places[row] for row in rows]
        return Vectors(self.files, ids, self.n_rows[rows], self.d, self.model, places)

    def read(self, rows: np.ndarray) -> np.ndarray:
        """Return ``(sum of n_rows, d) float32``, the embeddings of some proteins, one after the other.

        Raises
        ------
        DataError
            If one holds NaN, infinity or nothing but zeros; the protein is named.
        """
        out = np.empty((int(self.n_rows[rows].sum()), self.d), dtype=np.float32)
        ends = np.cumsum(self.n_rows[rows])
        number = np.array([self._places[row][0] for row in rows])
        for file in np.unique(number):
            mine = np.flatnonzero(number == file)
            self._read_file(self.files[file], rows[mine], out, ends[mine])
        self._check(out, rows, ends)
        return out

    def _read_file(self, path: Path, rows: np.ndarray, out: np.ndarray, ends: np.ndarray) -> None:
        content = np.asarray(np.memmap(path, np.uint8, mode="r"))
        compressed = []
        for row, end in zip(rows.tolist(), ends.tolist(), strict=True):
            dataset = self._places[row][1]
            target = out[end - self.n_rows[row] : end]
            if dataset.offset is None:
                compressed.append((dataset, target))
                continue
            if dataset.offset + target.size * dataset.dtype.itemsize > len(content):
                raise DataError(f"{path} is truncated: {dataset.name} ends beyond the end of the file; copy it again")
            target[:] = np.frombuffer(content, dataset.dtype, target.size, dataset.offset).reshape(target.shape)
        if compressed:
            _decompress(path, compressed)

    def _check(self, out: np.ndarray, rows: np.ndarray, ends: np.ndarray) -> None:
        size = np.abs(out).max(axis=1)  # NaN where a row holds one
        for wrong, what in ((~np.isfinite(size), "NaN or infinite values"), (size == 0, "a vector of zeros")):
            if wrong.any():
                row = rows[np.searchsorted(ends, np.flatnonzero(wrong)[0], side="right")]
                message = f"{self.files[self._places[row][0]]}: {self.ids[row]} holds {what}"
                raise DataError(f"{message} (such rows here: {int(wrong.sum())}); leave it out or embed it again")


def _decompress(path: Path, wanted: list[tuple[Dataset, np.ndarray]]) -> None:
    """Reads datasets past h5py's high-level interface, which takes longer than the reading.

    Numbers are converted here: HDF5 converts half precision number by number.
    """
    with h5py.File(path, "r") as file:
        for dataset, target in wanted:
            stored = np.empty(dataset.shape, dtype=dataset.dtype)
            try:
                h5py.h5d.open(file.id, dataset.name.encode()).read(h5py.h5s.ALL, h5py.h5s.ALL, stored)
            except (OSError, RuntimeError, KeyError, ValueError) as error:
                raise DataError(f"{path}: {dataset.name} is damaged ({error}); copy the file again") from error
            target[:] = stored.reshape(target.shape)


def find_vectors(path: Path | str) -> Vectors:
    """Find the embeddings in an HDF5 file, or in all HDF5 files of a folder.

    Raises
    ------
    DataError
        If a file cannot be used, ids repeat, or the embeddings are not of one width or not stored as rows.
    """
    files = _files(Path(path).expanduser())
    places = [(number, dataset) for number, file in enumerate(files) for dataset in datasets(file)]
    ids = [accession(name) for name in _names(files, places)]
    _check_unique(ids, files, places)
    shapes = [_shape(dataset, files[number]) for number, dataset in places]
    _check_layout(files, places)
    _check_widths(ids, shapes)
    n_rows = np.array([n for n, _ in shapes], dtype=np.int64)
    return Vectors(files, ids, n_rows, shapes[0][1], _model(files), places)


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    files = sorted(file for file in path.iterdir() if file.suffix in SUFFIXES)
    if not files:
        raise DataError(f"{path} holds no {' or '.join(SUFFIXES)} file")
    return files


def _shape(dataset: Dataset, path: Path) -> tuple[int, int]:
    """Rows and width: a vector is one row."""
    shape = (1, *dataset.shape) if len(dataset.shape) == 1 else dataset.shape
    if len(shape) != 2 or 0 in shape or dataset.dtype.kind != "f":
        what = f"shape {dataset.shape} and type {dataset.dtype}"
        expected = "one dataset per protein, of floating-point numbers (D,) or (L, D)"
        raise DataError(f"{path}: {dataset.name} has {what}; expected {expected}")
    return shape


def _names(files: list[Path], places: list[tuple[int, Dataset]]) -> list[str]:
    """Return the original id of every dataset, or its key where one of them has none."""
    keys = [dataset.name for _, dataset in places]
    found: list[str] = []
    for number, of_file in groupby(places, key=lambda place: place[0]):
        path, mine = files[number], [dataset.name for _, dataset in of_file]
        try:
            with h5py.File(path, "r") as file:
                if ORIGINAL_ID not in file[mine[0]].attrs:
                    return keys
                check_string_heaps(path)
                found += [_text(file[name].attrs[ORIGINAL_ID]) for name in mine]
        except KeyError:
            return keys
        except (OSError, RuntimeError, ValueError) as error:
            raise DataError(f"{path}: attributes cannot be read ({error}); copy the file again") from error
    logger.info("ids are those of the attribute %s, not the keys: %s for %s", ORIGINAL_ID, found[0], keys[0])
    return found


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _check_layout(files: list[Path], places: list[tuple[int, Dataset]]) -> None:
    """Refuse what can only be vectors stored as columns, and vectors beside matrices."""
    shapes = [dataset.shape for _, dataset in places]
    matrices = [n for n, shape in enumerate(shapes) if len(shape) == 2]
    several = [n for n in matrices if shapes[n][0] > 1]
    if not several:
        return
    first, n_rows, widths = several[0], {shape[0] for shape in shapes}, {shapes[n][1] for n in matrices}
    where = f"{files[places[first][0]]}: {places[first][1].name} has shape {shapes[first]}"
    if len(matrices) < len(shapes):
        vector = next(n for n, shape in enumerate(shapes) if len(shape) == 1)
        message = f"{where}, but {places[vector][1].name} has {shapes[vector]}"
        raise DataError(f"{message}; expected vectors (D,) for all proteins, or matrices (L, D) for all")
    is_narrow = max(widths) < min(NARROW, *n_rows) and len(shapes) > 1
    if widths == {1} or (len(n_rows) == 1 and (len(widths) > 1 or is_narrow)):
        message = f"{where}, as if its vector were stored as a column"
        raise DataError(f"{message}; expected (D,), or (L, D) with one row per residue: transpose the datasets")


def _check_widths(ids: list[str], shapes: list[tuple[int, int]]) -> None:
    widths = np.array([width for _, width in shapes])
    other = np.flatnonzero(widths != widths[0])
    if len(other):
        message = f"embeddings must be of one width: {ids[0]} has {widths[0]}, {ids[other[0]]} has {widths[other[0]]}"
        raise DataError(f"{message} ({len(other)} of {len(ids)} differ from the first)")


def _check_unique(ids: list[str], files: list[Path], places: list[tuple[int, Dataset]]) -> None:
    first: dict[str, int] = {}
    for name, (number, _) in zip(ids, places, strict=True):
        if name in first:
            places_of = dict.fromkeys((files[first[name]].name, files[number].name))
            where = f"in {', '.join(places_of)}; an id is a key's first word, or its accession"
            raise DataError(f"the protein id {name} occurs more than once ({where}); ids must be unique")
        first[name] = number


def _model(files: list[Path]) -> str | None:
    """The model that the first file names."""
    try:
        with h5py.File(files[0], "r") as file:
            named = [name for name in MODEL_ATTRIBUTES if name in file.attrs]
            if named:
                check_string_heaps(files[0])
            return _text(file.attrs[named[0]]) if named else None
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        raise DataError(f"{files[0]}: attributes cannot be read ({error}); copy the file again") from error
