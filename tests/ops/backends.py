"""Backends as tests call them, without the choice by device: Triton's kernels run in its interpreter without a GPU."""

from __future__ import annotations

from types import ModuleType

import pytest
import torch

from biosae.ops import dispatch

DEVICES = {"triton": torch.device("cuda" if torch.cuda.is_available() else "cpu")}


def device_of(backend: str) -> torch.device:
    return DEVICES.get(backend, torch.device("cpu"))


def module_of(backend: str) -> ModuleType:
    pytest.importorskip(backend)
    module = dispatch.load(backend, device_of(backend))
    assert module is not None, f"{backend} is installed but does not work"
    return module


def only_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave every operation to torch."""
    for operation in dispatch.TABLE:
        monkeypatch.setitem(dispatch.TABLE, operation, {})
