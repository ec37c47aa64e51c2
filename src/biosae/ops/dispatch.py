"""Choice of the implementation of each operation: Triton kernels, numba loops or torch operators.

The modules ``triton_backend``, ``numba_backend`` and ``torch_backend`` have one function per operation that they
implement, under the operation's name. torch implements every operation, and is the reference for the other two.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from subprocess import SubprocessError
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

logger = logging.getLogger(__name__)

NARROW = (torch.float32, torch.bfloat16, torch.float16)  # kernels add up and compare in float32
FLOAT32, INDEX = (torch.float32,), (torch.int64,)

TABLE: dict[str, dict[str, tuple[torch.dtype, ...]]] = {
    "largest_in_rows": {"triton": NARROW, "numba": FLOAT32},
    "entries_above": {"numba": FLOAT32},
    "weighted_sums": {"triton": NARROW},
    "dot_products": {"triton": NARROW, "numba": FLOAT32},
    "by_feature": {"numba": INDEX},
    "adamw_step": {"numba": FLOAT32},
}
"""Backends of each operation besides torch, fastest first, with the types that they read."""

READS: dict[str, Callable[[Tensor], bool]] = {
    "triton": lambda tensor: tensor.is_cuda,
    "numba": lambda tensor: type(tensor) in (Tensor, nn.Parameter) and tensor.is_cpu and tensor.is_contiguous(),
}
"""Devices and layouts that backends besides torch read."""


def implementation(operation: str, *tensors: Tensor) -> Callable[..., Any]:
    """Return the fastest implementation of an operation for these tensors, which are its main arguments."""
    backends = (backend for backend in TABLE[operation] if supports(backend, operation, *tensors))
    return getattr(load(next(backends, "torch"), tensors[0].device), operation)


def supports(backend: str, operation: str, *tensors: Tensor) -> bool:
    """Return True where a backend implements an operation for tensors of this device, type and layout."""
    dtypes, reads = TABLE[operation].get(backend, ()), READS[backend]
    are_read = all(tensor.dtype in dtypes and reads(tensor) for tensor in tensors)
    return are_read and load(backend, tensors[0].device) is not None


@cache
def load(backend: str, device: torch.device) -> ModuleType | None:
    """Return the module of a backend, or None where it is not installed or does not work.

    Triton needs a C compiler and the headers of Python. numba may not know this numpy, or have no folder for what it
    compiles.
    """
    if find_spec(backend) is None:
        return None
    try:
        module = importlib.import_module(f".{backend}_backend", __package__)
        module.largest_in_rows(torch.zeros(1, 2, device=device), 1)  # a probe: builds a kernel
    except (ImportError, OSError, RuntimeError, SubprocessError) as error:
        logger.warning("%s is installed but does not work, so that training takes longer: %s", backend, error)
        return None
    return module
