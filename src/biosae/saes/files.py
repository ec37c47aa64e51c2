"""An SAE on disk: ``sae.safetensors`` (weights and buffers) beside ``sae.yaml`` (variant and settings)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from biosae.artefacts import atomic_write
from biosae.compat import with_names
from biosae.errors import ArtefactError, BiosaeError, SettingError

from .architecture import Architecture
from .base import SAE
from .build import VARIANTS, build

WEIGHTS = "sae.safetensors"
SETTINGS = "sae.yaml"


def save(sae: SAE, folder: Path) -> None:
    """Write both files into ``folder``."""
    settings = {"variant": VARIANTS.name_of(type(sae)), **sae.config()}
    with atomic_write(Path(folder) / SETTINGS) as temporary:
        temporary.write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
    tensors = {name: tensor.detach().contiguous().cpu() for name, tensor in sae.state_dict().items()}
    with atomic_write(Path(folder) / WEIGHTS) as temporary:
        save_file(tensors, temporary)


def load(folder: Path, device: str | torch.device = "cpu") -> SAE:
    """Return the SAE in ``folder``.

    Raises
    ------
    ArtefactError
        If a file is missing, damaged or does not fit the other.
    SettingError
        If the device cannot be used.
    """
    settings = _read_settings(Path(folder) / SETTINGS)
    tensors = _read_tensors(Path(folder) / WEIGHTS)
    try:
        sae = _construct(settings)
        sae.load_state_dict(tensors)
    except (BiosaeError, RuntimeError, TypeError, KeyError) as error:
        reason = " ".join(str(error).split())
        raise ArtefactError(f"{folder} does not hold an SAE that fits its {SETTINGS}: {reason}") from error
    try:
        return sae.to(device).eval()
    except (AssertionError, RuntimeError) as error:  # torch built without it; a name that torch does not know
        message = f"device={device} cannot be used: {str(error).splitlines()[0]}"
        raise SettingError(message, argument="device") from error


def _construct(settings: dict[str, Any]) -> SAE:
    settings = with_names(settings)
    variant, d_in, d_sae = (settings.pop(name) for name in ("variant", "d_in", "d_sae"))
    architecture = Architecture(**settings.pop("architecture"))
    return build(variant, d_in, d_sae, settings, settings.pop("seed"), architecture)


def _read_settings(path: Path) -> dict[str, Any]:
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ArtefactError(f"{path} does not exist; make it with the train stage") from None
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ArtefactError(f"{path} cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(settings, dict):
        raise ArtefactError(f"{path} must name the SAE's variant and settings, got {type(settings).__name__}")
    return settings


def _read_tensors(path: Path) -> dict[str, torch.Tensor]:
    try:
        return load_file(path)
    except FileNotFoundError:
        raise ArtefactError(f"{path} does not exist; make it with the train stage") from None
    except (OSError, SafetensorError) as error:
        raise ArtefactError(f"{path} is damaged ({error}); make it again with the train stage") from error
