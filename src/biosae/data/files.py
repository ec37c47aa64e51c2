"""Files of cells by name, pattern or folder, and the hash of their content."""

from __future__ import annotations

from glob import glob
from importlib import resources
from pathlib import Path

from biosae.artefacts import content_hash, settings_hash
from biosae.errors import DataError

from .soma import is_soma

EMBEDDED = "embedded/pbmc3k.h5ad"


def data_paths(path: str | list[str] | None) -> list[Path | str]:
    """Return files of cells, given one by one, as a pattern or as their folder.

    Parameters
    ----------
    path
        A file, pattern, folder, URI or SOMA experiment, or a list of these; None stands for the PBMCs that come with
        biosae. URIs and SOMA experiments are returned as they are.

    Raises
    ------
    DataError
        If a pattern or folder has no file of cells.
    """
    if path is None:
        return [Path(str(resources.files("biosae.data") / EMBEDDED))]
    return [file for name in ([path] if isinstance(path, str) else path) for file in _expanded(name)]


def _expanded(name: str) -> list[Path | str]:
    if is_soma(name):
        return [name]
    path = Path(name).expanduser()
    if path.is_file() or (path.is_dir() and path.suffix == ".zarr"):  # even where its name looks like a pattern
        return [path]
    if path.is_dir():
        found = [*path.glob("*.h5ad"), *path.glob("*.zarr")]
    elif any(sign in name for sign in "*?["):
        found = [Path(text) for text in glob(str(path), recursive=True)]
    else:
        return [path]
    if not found:
        what = "is a folder without .h5ad or .zarr" if path.is_dir() else "is a pattern that no file fits"
        raise DataError(f"path {name} {what}", argument="path")
    return sorted(found)


def data_hash(paths: list[Path | str]) -> str:
    """Return the content hash of a file, or of several; remote data is hashed by its URIs alone."""
    if any(isinstance(path, str) for path in paths):
        return settings_hash({"uris": [str(path) for path in paths]})
    if len(paths) == 1 and paths[0].is_file():
        return content_hash(paths[0])
    files = {str(file.relative_to(path.parent)): file for path in paths for file in [path, *sorted(path.rglob("*"))]}
    return settings_hash({name: content_hash(file) for name, file in files.items() if file.is_file()})
