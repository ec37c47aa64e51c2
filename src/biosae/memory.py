"""Memory that was freed, given back to the system."""

from __future__ import annotations

import ctypes
import gc
import sys
from functools import cache


def return_freed() -> None:
    """Gives pages that hold nothing any more back to the system.

    The C library of Linux keeps them for itself where small things that stay lie between large ones that come and
    go, so that the memory of a process grows with every block that it reads, though what is in use does not.
    Objects that refer to each other and were just dropped are dropped for good first.
    """
    gc.collect(1)
    if (trim := _trim()) is not None:
        trim(0)


@cache
def _trim() -> ctypes._NamedFuncPointer | None:
    return getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
