"""Files between stages: written atomically, and identified by the hash of their content."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from numbers import Integral
from pathlib import Path
from typing import Any, BinaryIO

from safetensors import SafetensorError

from biosae.errors import ArtefactError
from biosae.json_objects import misfit, read_object
from biosae.locks import claimed, is_claimed


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path that replaces ``path`` when the block, which writes it, ends without an error.

    The file is synced before it is renamed, so that after a crash or a full disk ``path`` is
    either the old file or the whole new one.
    """
    path = Path(path)
    with _beside(path) as folder:
        temporary = folder / path.name
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())  # safetensors lets nobody else read
        temporary.replace(path)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder that replaces ``path`` when the block ends without an error."""
    path = Path(path)
    with _beside(path) as folder:
        temporary, older = folder / path.name, folder / "older"
        temporary.mkdir()
        yield temporary
        if path.exists():
            path.replace(older)
        temporary.replace(path)


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """Yield a hidden folder beside ``path``, deleted when the block ends; errors of the system name the path."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    except OSError as error:
        raise ArtefactError(f"cannot write {path}: {error.strerror or error}") from error
    try:
        with claimed(folder):
            yield folder
    except (OSError, SafetensorError) as error:  # a full disk is the latter where safetensors writes
        raise ArtefactError(f"cannot write {path}: {getattr(error, 'strerror', None) or error}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def remove_temporary(folder: Path) -> None:
    """Remove what killed writers left in and under ``folder``: names such as ``.run.json.k2x8_a9q``.

    Folders that a living process is writing stay.
    """
    for path in list(Path(folder).rglob(".*.*")):
        if path.is_dir() and not is_claimed(path):
            shutil.rmtree(path, ignore_errors=True)


@contextmanager
def unnamed_file(folder: Path) -> Iterator[BinaryIO]:
    """Yield a file on the disk of ``folder`` that disappears with the process; a full disk is an error."""
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            yield file
    except OSError as error:
        raise ArtefactError(f"cannot write in {folder}: {error.strerror or error}") from error


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write JSON with two spaces of indent, atomically."""
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def read_json(path: Path, made_by: str, expected: Mapping | None = None, newest: int | None = None) -> dict[str, Any]:
    """Return a JSON artefact.

    Parameters
    ----------
    made_by
        The stage that makes it, for errors: ``the train stage``.
    expected
        The keys that a reader needs and their types; see `json_objects.misfit`.
    newest
        The newest format that can be read; None for files that have none.

    Raises
    ------
    ArtefactError
        If the file is missing, damaged, lacks a key or is of a newer biosae; the message names the stage.
    """
    try:
        content = read_object(path)
    except FileNotFoundError:
        raise ArtefactError(f"{path} does not exist; make it with {made_by}") from None
    except (ValueError, OSError) as error:
        raise damaged(path, error, made_by) from error
    if newest is not None:
        check_format(path, content.get("format"), newest, made_by)
    if found := misfit(content, expected or {}):
        raise damaged(path, found, made_by)
    return content


def damaged(path: Path | str, reason: object, made_by: str) -> ArtefactError:
    """Return the error about an artefact that cannot be read, on one line."""
    text = " ".join(str(reason).split()) or type(reason).__name__
    return ArtefactError(f"{path} cannot be read ({text}); make it again with {made_by}")


def check_format(path: Path | str, found: Any, newest: int, made_by: str) -> None:
    """Raise unless a format number is one that can be read; a file without a number is of format 1.

    Raises
    ------
    ArtefactError
        If it is newer, or no format number.
    """
    if found is None:
        return
    if not isinstance(found, Integral) or isinstance(found, bool) or found < 1:
        raise damaged(path, f"its format is {found}, expected 1 to {newest}", made_by)
    if found > newest:
        message = f"{path} was written by a newer biosae (format {found}, this one reads up to {newest})"
        raise ArtefactError(f"{message}: pip install -U biosae")


def check_origin(made: Path | str, recorded: Any, source: Path | str, found: str, made_by: str) -> None:
    """Raise unless the hash of its source that an artefact records is that of the source that lies there.

    Raises
    ------
    ArtefactError
        What does not belong to what, and the stage that mends it.
    """
    if str(recorded) != found:
        hashes = f"recorded hash {str(recorded)[:16]}, found {found}"
        raise ArtefactError(f"{made} does not belong to {source} ({hashes}); make it again with {made_by}")


def content_hash(path: Path) -> str:
    """Return the first 16 hex digits of the SHA-256 of a file.

    A file is read once in a process, unless it changes.

    Raises
    ------
    ArtefactError
        If it cannot be read.
    """
    try:
        stat = os.stat(path)
        state = (os.path.abspath(path), stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
        if state in _hashes:
            return _hashes[state]
        with open(path, "rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()[:16]
    except OSError as error:
        raise ArtefactError(f"{path} cannot be read: {error.strerror or error}") from error
    if time.time_ns() - stat.st_mtime_ns > CHANGING:
        _hashes[state] = found
    return found


CHANGING = 2_000_000_000
"""Nanoseconds after which a file that changes again has another time, also where times are coarse."""

_hashes: dict[tuple, str] = {}


def settings_hash(settings: dict[str, Any]) -> str:
    """Return the first 16 hex digits of the SHA-256 of settings written as sorted JSON."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
