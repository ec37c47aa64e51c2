"""Loading the foundation model that settings name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from biosae.errors import SettingError, arguments_of
from biosae.models.base import ModelAdapter
from biosae.models.loaders import LOADERS
from biosae.registry import call


def load_model(settings: Mapping[str, Any], device: str = "auto") -> ModelAdapter:
    """Load a foundation model.

    Parameters
    ----------
    settings
        ``loader``, a name in `biosae.models.loaders.LOADERS`; ``precision``; and the arguments of the loader.
    device
        ``auto``, or a device of torch.
    """
    given, settings = dict(settings), dict(settings)
    precision, loader = settings.pop("precision", "fp32"), settings.pop("loader", None)
    with arguments_of("model"):
        model = call(LOADERS.get(loader), settings, "model", device=choose_device(device)).in_precision(precision)
    model.settings = given
    return model


def choose_device(name: str) -> str:
    """Return a device of torch; ``auto`` is the first GPU (of several processes one for each) or the CPU.

    Raises
    ------
    SettingError
        If the device cannot be used.
    """
    if name == "auto":
        return f"cuda:{torch.cuda.current_device()}" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        message = f"device={name} cannot be used: {str(error).splitlines()[0]}"
        raise SettingError(message, argument="device") from error
    return name
