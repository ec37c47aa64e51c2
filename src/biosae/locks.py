"""One writer per folder: a lock that the operating system releases when its process ends."""

from __future__ import annotations

import json
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from biosae.errors import ArtefactError, InUseError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

logger = logging.getLogger(__name__)

LOCK = ".lock"


@contextmanager
def locked(folder: Path, waits: bool = False) -> Iterator[None]:
    """Keep every other process from locking ``folder`` until the block ends.

    The file ``.lock`` names the process and its machine. The lock of a killed process is taken over. Machines
    that share a file system need one that shares locks (NFS, Lustre with ``flock``, GPFS); a file system without
    locks gives a warning.

    Parameters
    ----------
    waits
        Wait for the other process instead of raising.

    Raises
    ------
    InUseError
        If another process has the lock; the message names it.
    ArtefactError
        If the folder cannot be written.
    """
    path = Path(folder) / LOCK
    handle = _acquire(path, waits)
    try:
        os.ftruncate(handle, 0)
        owner = {"pid": os.getpid(), "host": socket.gethostname(), "since": datetime.now().isoformat(" ", "seconds")}
        os.write(handle, json.dumps(owner).encode())
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(handle)


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Mark a folder as in use by this process until the block or the process ends."""
    if fcntl is None:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # a file system without locks of folders
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


def is_claimed(folder: Path) -> bool:
    """Return whether a living process has `claimed` a folder."""
    if fcntl is None:
        return False
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(handle)
    return False


def _acquire(path: Path, waits: bool) -> int:
    """Return a descriptor of the locked file, which is still the one at ``path``."""
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise ArtefactError(f"cannot write in {path.parent}: {error.strerror}") from error
        try:
            _lock(handle, path, waits)
            if _is_at(handle, path):  # else its owner deleted it just before we got it
                return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)


def _lock(handle: int, path: Path, waits: bool) -> None:
    if fcntl is None:
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        if not waits:
            message = f"{path.parent} is in use by {_owner(path)}; wait for it, stop it or choose another folder"
            raise InUseError(message) from None
        logger.info("waiting for %s, which writes %s", _owner(path), path.parent)
        fcntl.flock(handle, fcntl.LOCK_EX)
    except OSError as error:
        logger.warning("%s cannot be locked (%s): see that no other process writes there", path.parent, error.strerror)


def _is_at(handle: int, path: Path) -> bool:
    try:
        return os.fstat(handle).st_ino == path.stat().st_ino
    except FileNotFoundError:
        return False


def _owner(path: Path) -> str:
    try:
        owner = json.loads(path.read_text(encoding="utf-8"))
        return f"process {owner['pid']} on {owner['host']} (since {owner['since']})"
    except (OSError, ValueError, KeyError):
        return "another process"
