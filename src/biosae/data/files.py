"""The files that ``data.path`` names, and the hash of what they hold."""

from __future__ import annotations

from glob import glob
from importlib import resources
from pathlib import Path

from biosae.artefacts import content_hash, settings_hash
from biosae.data.soma import is_soma
from biosae.errors import DataError

EMBEDDED = "embedded/pbmc3k.h5ad"


def data_paths(named: str | list[str] | None) -> list[Path | str]:
    """The files of cells that ``data.path`` names, one by one, by a pattern or by their folder; or the embedded PBMCs.

    URIs and SOMA experiments stay as they are.

    Raises
    ------
    DataError
        If a pattern or folder has no file of cells.
    """
    if named is None:
        return [Path(str(resources.files("biosae.data") / EMBEDDED))]
    return [path for name in ([named] if isinstance(named, str) else named) for path in _expanded(name)]


def _expanded(name: str) -> list[Path | str]:
    if is_soma(name):
        return [name]
    path = Path(name).expanduser()
    if path.is_dir() and path.suffix != ".zarr":
        found = [*path.glob("*.h5ad"), *path.glob("*.zarr")]
    elif any(sign in name for sign in "*?["):
        found = [Path(text) for text in glob(str(path), recursive=True)]
    else:
        return [path]
    if not found:
        what = "is a folder without .h5ad or .zarr" if path.is_dir() else "is a pattern that no file fits"
        raise DataError(f"data.path={name} {what}")
    return sorted(found)


def data_hash(paths: list[Path | str]) -> str:
    """Content hash of a file, or of all files that are there; of what is far away, the names alone."""
    if any(isinstance(path, str) for path in paths):
        return settings_hash({"uris": [str(path) for path in paths]})
    if len(paths) == 1 and paths[0].is_file():
        return content_hash(paths[0])
    files = {str(file.relative_to(path.parent)): file for path in paths for file in [path, *sorted(path.rglob("*"))]}
    return settings_hash({name: content_hash(file) for name, file in files.items() if file.is_file()})
