"""A free list that reuses large float32 buffers between steps.

The system's allocator requests blocks above 32 MB from the kernel each time and returns them at once. The kernel
clears them page by page, which takes as long as computing a gradient of the weights.
"""

from __future__ import annotations

import weakref
from collections import defaultdict

import numpy as np
import torch
from torch import Tensor

LARGE = 1 << 23
"""Number of float32 values from which reuse pays: 32 MB."""

_free: defaultdict[int, list[np.ndarray]] = defaultdict(list)


def take(n_rows: int, width: int) -> Tensor:
    """Return an uninitialised ``(n_rows, width) float32`` CPU tensor; its memory comes back when it is dropped."""
    size = n_rows * width
    if _free[size]:
        memory = _free[size].pop()
    else:
        _free.clear()  # other sizes may not be asked for again
        memory = np.empty(size, dtype=np.float32)
    lent = memory.view()  # lives as long as the tensor, its views and their storage
    weakref.finalize(lent, _give_back, memory).atexit = False
    return torch.from_numpy(lent).view(n_rows, width)


def _give_back(memory: np.ndarray) -> None:
    _free[memory.size].append(memory)
