"""An SAE on disk: ``sae.safetensors`` (weights and buffers) beside ``sae.yaml`` (variant and settings)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from biosae.artefacts import atomic_write, check_format, check_origin, content_hash, damaged, settings_hash
from biosae.compat import with_names
from biosae.errors import ArtefactError, BiosaeError, SettingError
from biosae.json_objects import SIZE, misfit
from biosae.run_record import WEIGHTS

from .architecture import Architecture
from .base import SAE
from .build import VARIANTS, build

SETTINGS = "sae.yaml"
FORMAT = 1
MADE_BY = "the train stage, or download it again"
EXPECTED = {"variant": str, "d_in": SIZE, "d_sae": SIZE, "seed": int, "architecture": dict}


def save(sae: SAE, folder: Path) -> None:
    """Write both files into ``folder``; ``sae.yaml`` has the hash of the weights and one of its own content."""
    folder = Path(folder)
    tensors = {name: tensor.detach().contiguous().cpu() for name, tensor in sae.state_dict().items()}
    with atomic_write(folder / WEIGHTS) as temporary:
        save_file(tensors, temporary)
    settings = {"format": FORMAT, "variant": VARIANTS.name_of(type(sae)), **sae.config()}
    settings["weights_hash"] = content_hash(folder / WEIGHTS)
    settings = {"settings_hash": settings_hash(settings), **settings}  # first: a file that is cut off still has it
    with atomic_write(folder / SETTINGS) as temporary:
        temporary.write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")


def load(folder: Path, device: str | torch.device = "cpu") -> SAE:
    """Return the SAE in ``folder``.

    Raises
    ------
    ArtefactError
        If a file is missing, damaged, does not belong to the other or is of a newer biosae.
    SettingError
        If the device cannot be used.
    """
    settings = _read_settings(Path(folder) / SETTINGS)
    tensors = _read_tensors(Path(folder) / WEIGHTS, settings.pop("weights_hash", None))
    try:
        _check_shape(tensors, settings)
        sae = _construct(settings)
        sae.load_state_dict(tensors)
    except (BiosaeError, RuntimeError, TypeError, ValueError, KeyError, AttributeError, OverflowError) as error:
        reason = " ".join(str(error).split())
        raise ArtefactError(f"{folder} does not hold an SAE that fits its {SETTINGS}: {reason}") from error
    try:
        return sae.to(device).eval()
    except (AssertionError, RuntimeError) as error:  # torch built without it; a name that torch does not know
        message = f"device={device} cannot be used: {str(error).splitlines()[0]}"
        raise SettingError(message, argument="device") from error


def _check_shape(tensors: dict[str, torch.Tensor], settings: dict[str, Any]) -> None:
    """Raise before anything is allocated for weights of another size."""
    shape = tuple(tensors["W_dec"].shape) if "W_dec" in tensors else None
    if shape is not None and shape != (settings["d_sae"], settings["d_in"]):
        raise ValueError(f"W_dec is {shape}, expected {settings['d_sae'], settings['d_in']}")


def _construct(settings: dict[str, Any]) -> SAE:
    variant, d_in, d_sae = (settings.pop(name) for name in ("variant", "d_in", "d_sae"))
    architecture = Architecture(**settings.pop("architecture"))
    return build(variant, d_in, d_sae, settings, settings.pop("seed"), architecture)


def _read_settings(path: Path) -> dict[str, Any]:
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ArtefactError(f"{path} does not exist; make it with the train stage") from None
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise damaged(path, error, MADE_BY) from error
    if not isinstance(settings, dict):
        raise ArtefactError(f"{path} must name the SAE's variant and settings, got {type(settings).__name__}")
    own = settings.pop("settings_hash", None)
    check_format(path, settings.get("format"), FORMAT, MADE_BY)
    if own is not None and own != _hash_of(settings):
        raise ArtefactError(f"{path} was changed since it was written; make it again with {MADE_BY}")
    settings.pop("format", None)
    settings = with_names(settings)
    if found := misfit(settings, EXPECTED):
        raise damaged(path, found, MADE_BY)
    return settings


def _hash_of(settings: dict[str, Any]) -> str | None:
    """Return the hash of settings; None for values that YAML knows and JSON does not."""
    try:
        return settings_hash(settings)
    except (TypeError, ValueError):
        return None


def _read_tensors(path: Path, expected: str | None) -> dict[str, torch.Tensor]:
    """Return the tensors of a file with the expected hash; earlier files record none."""
    try:
        tensors = load_file(path)
    except FileNotFoundError:
        raise ArtefactError(f"{path} does not exist; make it with the train stage") from None
    except (OSError, SafetensorError) as error:
        raise damaged(path, error, MADE_BY) from error
    if expected is not None:
        check_origin(path, expected, SETTINGS, content_hash(path), MADE_BY)
    return tensors
