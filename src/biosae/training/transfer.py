"""Transfer of batches to the device of the SAEs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

import torch
from torch import Tensor

from biosae.activations.shuffle import one_ahead


def on_device(batches: Iterable[Tensor], device: torch.device) -> Iterator[Tensor]:
    """Yield batches on a device; while the SAEs learn from one, a thread sends the next to a GPU."""
    if device.type != "cuda":
        return (x.to(device) for x in batches)
    return one_ahead(partial(_sent, x, device) for x in batches)


def _sent(x: Tensor, device: torch.device) -> Tensor:
    """Copy from pinned memory, so that the copy does not block."""
    return x.pin_memory().to(device, non_blocking=True)
