"""Return of freed memory to the system."""

from __future__ import annotations

import ctypes
import gc
import sys
from functools import cache


def return_freed() -> None:
    """Return freed pages to the system.

    The C library of Linux keeps them where small allocations that stay lie between large ones that come and go, so
    that the memory of a process grows with every block that it reads. Reference cycles are collected first.
    """
    gc.collect(1)
    if (trim := _trim()) is not None:
        trim(0)


@cache
def _trim() -> ctypes._NamedFuncPointer | None:
    return getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
