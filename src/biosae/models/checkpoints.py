"""Checkpoint files, read as data: tensors and plain settings; nothing in them is executed."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from biosae.errors import ModelError, reason_of
from biosae.torch_files import read_plain

from .dictionaries import read_json
from .folders import require_files

Weights = dict[str, Tensor]

WRAPPERS = ("model_state_dict", "state_dict")
"""Names under which training loops keep the weights."""

PARALLEL = "module."
"""Prefix of DistributedDataParallel."""


def read_weights(path: Path) -> Weights:
    """Read the tensors of a ``.safetensors``, ``.bin`` or ``.pt`` file that holds nothing else, by name.

    In a checkpoint of a training loop those of the model are read, and the rest is left out.

    Half-precision tensors are widened to float32, so that the forward pass runs in float32 whatever
    the file stores.

    Raises
    ------
    ModelError
        If the file is damaged or holds anything besides tensors.
    """
    content = _load(path)
    if isinstance(content, dict):
        content = next((content[name] for name in WRAPPERS if isinstance(content.get(name), dict)), content)
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise ModelError(f"{path} must map names to tensors; is this a file of model weights?")
    if not content:
        raise ModelError(f"{path} holds no tensors; download it again")
    return unwrapped(_widened(content))


def unwrapped(weights: Weights) -> Weights:
    """Return weights without the prefixes that torch.compile and data parallelism put before every name."""
    weights = {name.replace("_orig_mod.", ""): weight for name, weight in weights.items()}
    while weights and all(name.startswith(PARALLEL) for name in weights):
        weights = {name.removeprefix(PARALLEL): weight for name, weight in weights.items()}
    return weights


def shard_files(folder: Path, published: str) -> list[Path]:
    """Return the weight files of a Hugging Face folder: one, or the shards that its index lists; safetensors first."""
    for name in ("model.safetensors", "pytorch_model.bin"):
        if (folder / name).is_file():
            return [folder / name]
        if (folder / f"{name}.index.json").is_file():
            index = read_json(folder / f"{name}.index.json", {"weight_map": {str: str}})
            shards = sorted(set(index["weight_map"].values()))
            return require_files(folder, published, *[(shard,) for shard in shards])
    return require_files(folder, published, ("model.safetensors", "pytorch_model.bin"))


def read_shards(files: list[Path]) -> Weights:
    """Read the tensors of several files."""
    return {name: weight for file in files for name, weight in read_weights(file).items()}


def read_checkpoint(path: Path) -> tuple[Weights, dict[str, Any]]:
    """Read the tensors of a nested checkpoint, and the settings around them.

    A tensor is named by the path to it, ``cell.state_dict.model.norm.weight``. A ``.safetensors``
    file has its settings beside it as ``.json``.

    Raises
    ------
    ModelError
        If a file is missing, damaged, or holds anything besides tensors and plain settings.
    """
    content = _load(path)
    if path.suffix == ".safetensors":
        return _widened(content), read_json(path.with_suffix(".json"))
    if not isinstance(content, dict):
        raise ModelError(f"{path} must hold a dictionary, got {type(content).__name__}; is this a checkpoint?")
    weights: Weights = {}
    settings = _without_tensors(content, "", weights)
    return _widened(weights), settings


def _load(path: Path) -> Any:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return read_plain(path)
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path} is damaged ({reason_of(error)}); download it again") from error
    except ValueError as error:
        raise ModelError(f"{path} {error}") from error


def _without_tensors(content: Any, prefix: str, weights: Weights) -> Any:
    """The content with its tensors moved to ``weights``."""
    if isinstance(content, argparse.Namespace):
        content = vars(content)
    if not isinstance(content, dict):
        return content
    kept = {}
    for name, value in content.items():
        if isinstance(value, Tensor):
            weights[f"{prefix}{name}"] = value
        else:
            kept[name] = _without_tensors(value, f"{prefix}{name}.", weights)
    return kept


def _widened(weights: Weights) -> Weights:
    return {name: value.float() if value.is_floating_point() else value for name, value in weights.items()}
