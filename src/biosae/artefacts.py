"""Files between stages: written whole or not at all, and known by the hash of their content."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from safetensors import SafetensorError

from biosae.errors import ArtefactError
from biosae.locks import claimed, is_claimed


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """A temporary path that replaces ``path`` when the block, which writes it, ends without an error.

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
    """A temporary folder that replaces ``path`` when the block ends without an error."""
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
    """A hidden folder beside ``path`` to write in, gone when the block ends; the OS's errors are said with the path."""
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
    """Removes what writers that were killed left in and under ``folder``: names such as ``.run.json.k2x8_a9q``.

    What a living process writes stays.
    """
    for path in list(Path(folder).rglob(".*.*")):
        if path.is_dir() and not is_claimed(path):
            shutil.rmtree(path, ignore_errors=True)


@contextmanager
def unnamed_file(folder: Path) -> Iterator[BinaryIO]:
    """A file on the disk of ``folder`` that is gone with the process, however it ends; a full disk is said."""
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            yield file
    except OSError as error:
        raise ArtefactError(f"cannot write in {folder}: {error.strerror or error}") from error


def write_json(path: Path, content: dict[str, Any]) -> None:
    """JSON with two spaces of indent, written atomically."""
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def read_json(path: Path, made_by: str) -> dict[str, Any]:
    """Return a JSON artefact; the error names ``made_by``, such as "the train stage", when it is missing or damaged."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ArtefactError(f"{path} does not exist; make it with {made_by}") from None
    except (ValueError, OSError) as error:
        raise ArtefactError(f"{path} cannot be read ({error}); make it again with {made_by}") from error


def content_hash(path: Path) -> str:
    """The first 16 hex digits of the SHA-256 of a file."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()[:16]


def settings_hash(settings: dict[str, Any]) -> str:
    """The first 16 hex digits of the SHA-256 of settings written as sorted JSON."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
