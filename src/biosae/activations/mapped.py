"""Tensors of a safetensors file on the pages of the file."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor

DTYPES = {
    "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "I64": torch.int64, "I32": torch.int32, "BOOL": torch.bool,
}  # fmt: skip


def mapped_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a file that is known to be whole, memory-mapped.

    safetensors' own reader (0.8.0) maps them too but leaves 64 bytes in memory for each, and training reads from every
    shard for every group of batches: an epoch of a billion tokens would leave 5 GB.
    """
    storage = torch.UntypedStorage.from_file(str(path), False, path.stat().st_size)
    with path.open("rb") as file:
        n_header = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(n_header))
    header.pop("__metadata__", None)
    return {name: _view(storage, 8 + n_header, described) for name, described in header.items()}


def _view(storage: torch.UntypedStorage, start: int, described: dict) -> Tensor:
    tensor = torch.empty(0, dtype=DTYPES[described["dtype"]])
    first = (start + described["data_offsets"][0]) // tensor.itemsize  # the format aligns what it writes
    return tensor.set_(storage, first, tuple(described["shape"]))
