"""Modules of GPU kernels, where they can run: they need Triton, which needs a C compiler and the headers of Python."""

from __future__ import annotations

import importlib
import logging
from functools import cache
from subprocess import SubprocessError
from types import ModuleType

import torch
from torch import Tensor

logger = logging.getLogger(__name__)

KERNEL_TYPES = (torch.float32, torch.bfloat16, torch.float16)
"""What the kernels read: nothing wider than the float32 in which they add up and compare."""


def kernels(name: str, matrix: Tensor) -> ModuleType | None:
    """The module ``triton_<name>``, where its kernels take this matrix."""
    return _module(f".triton_{name}", matrix.device) if matrix.is_cuda and matrix.dtype in KERNEL_TYPES else None


@cache
def _module(name: str, device: torch.device) -> ModuleType | None:
    try:
        module = importlib.import_module(name, __package__)
        module.try_out(device)
    except ImportError:
        return None
    except (OSError, RuntimeError, SubprocessError) as error:
        logger.warning("Triton cannot build its kernels here, so training on the GPU is slower: %s", error)
        return None
    return module
