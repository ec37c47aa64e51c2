"""Memory for large results, used again.

The system's allocator fetches what is above 32 MB from the kernel anew and gives it back at once. The kernel clears
it page by page, which takes as long as to compute a gradient of the weights.
"""

from __future__ import annotations

import weakref
from collections import defaultdict

import numpy as np
import torch
from torch import Tensor

LARGE = 1 << 23
"""Numbers of float32 from which it is worth it: 32 MB."""

_free: defaultdict[int, list[np.ndarray]] = defaultdict(list)


def take(n_rows: int, width: int) -> Tensor:
    """An ``(n_rows, width) float32`` tensor on a processor, not cleared, whose memory comes back when it is dropped."""
    size = n_rows * width
    if _free[size]:
        memory = _free[size].pop()
    else:
        _free.clear()  # of other sizes, which may not be asked for again
        memory = np.empty(size, dtype=np.float32)
    lent = memory.view()  # lives as long as the tensor, its views and their storage
    weakref.finalize(lent, _give_back, memory).atexit = False
    return torch.from_numpy(lent).view(n_rows, width)


def _give_back(memory: np.ndarray) -> None:
    _free[memory.size].append(memory)
