"""Several files of cells as one: concatenated annotations, unique names, rows of each file."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
from pandas.api.types import union_categoricals

from biosae.errors import DataError

from .cell_file import CellFile
from .soma import SomaExperiment
from .text import is_text, plain_column

FILE = "file"
"""Column of obs with the file of each cell, where there are several."""


def joined_obs(files: list[CellFile | SomaExperiment]) -> pd.DataFrame:
    """Annotations of all cells, a column at a time."""
    if len(files) == 1:
        return files[0].obs()
    parts = [file.obs() for file in files]
    columns = dict.fromkeys(name for part in parts for name in part)
    obs = pd.DataFrame({name: _joined_column([_column(part, name) for part in parts]) for name in columns})
    if FILE not in obs:
        numbers = np.arange(len(files), dtype=np.min_scalar_type(-len(files)))
        codes = np.repeat(numbers, [file.n_cells for file in files])
        obs[FILE] = pd.Categorical.from_codes(codes, stems_of([file.path for file in files]))
    return obs


def repeated_names(files: list[CellFile | SomaExperiment]) -> np.ndarray | None:
    """Return a mask ``(n,) bool`` of cells that have the name of one in another file; None when there are none.

    Names are compared by 8 bytes of hash each; only if two of these agree are they all read at once.

    Raises
    ------
    DataError
        If a file has a name twice, or the name of a file does not make two names unique.
    """
    hashes, end = np.empty(sum(file.n_cells for file in files), np.uint64), 0
    for file in files:
        for block in file.names():
            hashes[end : end + len(block)] = pd.util.hash_array(block)
            end += len(block)
    hashes.sort()  # in place: this is the only array here that grows with the cells
    if not (hashes[1:] == hashes[:-1]).any():
        return None
    names = [pd.Index(np.concatenate(list(file.names()))) for file in files]
    for file, own in zip(files, names, strict=True):
        twice = own[own.duplicated()]
        if len(twice):
            message = f"{len(twice)} cell ids of {file.path} occur more than once (for example {twice[0]}); "
            raise DataError(message + "make them unique with adata.obs_names_make_unique()")
    stems = np.repeat(stems_of([file.path for file in files]), [file.n_cells for file in files])
    whole = names[0].append(names[1:])
    repeated = whole.duplicated(keep=False)
    unique = pd.Index(np.where(repeated, whole + "-" + pd.Index(stems), whole))
    if not unique.is_unique:
        example = unique[unique.duplicated()][0]
        raise DataError(f"cell ids of several files are not unique even with the name of the file, such as {example}")
    return repeated


def rows_in_files(rows: np.ndarray, files: list[CellFile | SomaExperiment]) -> list[np.ndarray]:
    """Rows of the whole, ascending, as rows of each file."""
    starts = np.cumsum([0, *(file.n_cells for file in files)])
    borders = np.searchsorted(rows, starts[1:-1])
    return [own - first for own, first in zip(np.split(rows, borders), starts[:-1], strict=True)]


def stems_of(paths: list[Path | str]) -> list[str]:
    """Return the shortest ends of the paths that are unique."""
    paths = [Path(path) for path in paths]
    for depth in range(1, max(len(path.parts) for path in paths) + 1):
        stems = ["/".join(path.with_suffix("").parts[-depth:]) for path in paths]
        if len(set(stems)) == len(stems):
            return stems
    repeated = next(str(path) for path in paths if paths.count(path) > 1)
    raise DataError(f"path names {repeated} more than once", argument="path")


def _column(part: pd.DataFrame, name: str) -> pd.Series:
    """Return a column of a file, or missing values where the file lacks it."""
    return part[name] if name in part else pd.Series(np.nan, part.index)


def _joined_column(parts: list[pd.Series]) -> pd.Series:
    """Concatenate the parts; text that repeats becomes categorical, one or two bytes per cell."""
    if all(is_text(part) for part in parts):
        with suppress(TypeError):  # categories of numbers here and of text there
            joined = union_categoricals([part.astype("category") for part in parts], sort_categories=True)
            repeats = len(joined.categories) <= len(joined) // 2
            return plain_column(pd.Series(joined if repeats else joined.astype(object)))
    column = plain_column(pd.concat([_as_values(part) for part in parts], ignore_index=True).infer_objects())
    repeats = is_text(column) and column.nunique() <= len(column) // 2
    return column.astype("category") if repeats else column


def _as_values(part: pd.Series) -> pd.Series:
    """Return categories as their values."""
    return part.astype(object) if isinstance(part.dtype, pd.CategoricalDtype) else part
