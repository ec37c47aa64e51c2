"""Temporary folders, which are there until Python ends."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path


def scratch_folder() -> Path:
    """Return a new empty folder."""
    return Path(tempfile.mkdtemp(dir=_root()))


@cache
def _root() -> str:
    root = tempfile.mkdtemp(prefix="biosae-")
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    return root
