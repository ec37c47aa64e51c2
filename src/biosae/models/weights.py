"""Weights of a checkpoint in a network; nothing is skipped silently."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from biosae.artefacts import content_hash, settings_hash
from biosae.errors import ModelError

from .checkpoints import Weights
from .settings import check_choice

RANDOM_INIT = ("false", "blocks", "all")

FIRST_SEED = 7_000_003
"""Seed 0 draws from here: a model pretrained from torch's seed 0, as many are, would else be its own control."""


class Initialisation:
    """Weights of a checkpoint, or random ones as a control for what a result owes to training.

    Parameters
    ----------
    random_init
        ``false`` takes all weights from the checkpoint, ``blocks`` its embeddings only, which leaves the layers
        random, and ``all`` none.
    seed
        Seed of the random weights.

    Raises
    ------
    SettingError
        If ``random_init`` is none of these.
    """

    def __init__(self, random_init: str | bool, seed: int):
        self.random_init = check_choice("random_init", str(random_init).lower(), RANDOM_INIT)
        self.seed = seed

    @property
    def is_trained(self) -> bool:
        return self.random_init == "false"

    def network(
        self, make: Callable[[], nn.Module], weights: Weights, embeddings: tuple[str, ...], path: Path
    ) -> nn.Module:
        """Return a frozen network in eval mode; arguments are those of `build_frozen` and `load_weights`."""
        network = build_frozen(make, self.seed, empty=self.is_trained)
        load_weights(network, weights, embeddings, self.random_init, path)
        return network

    def fingerprint(self, files: Sequence[Path], **settings: Any) -> str:
        """Return 16 hex digits that change with the weight files, the random parts and the given settings."""
        random = None if self.is_trained else [self.random_init, FIRST_SEED + self.seed]
        return settings_hash({"files": [content_hash(file) for file in files], "random": random} | settings)


def renamed(weights: Weights, rules: Mapping[str, str], without: str) -> Weights:
    """Return weights under our names.

    Parameters
    ----------
    rules
        Regular expressions and their replacements, applied in order to each name.
    without
        Regular expression of names to leave out: heads and buffers that activations do not need.
        Everything else stays, known or not, so that `load_weights` can refuse it.
    """
    kept = {}
    for name, weight in weights.items():
        if not re.match(without, name):
            for pattern, replacement in rules.items():
                name = re.sub(pattern, replacement, name)
            kept[name] = weight
    return kept


def fuse_attention(weights: Weights) -> Weights:
    """Return weights with ``attention.query``, ``.key`` and ``.value`` of each layer stacked as ``attention.qkv``."""
    part = re.compile(r"\.attention\.(query|key|value)\.")
    fused = {name: weight for name, weight in weights.items() if not part.search(name)}
    for name in {part.sub(".attention.{}.", name) for name in weights if part.search(name)}:
        parts = [name.format(kind) for kind in ("query", "key", "value")]
        missing = [wanted for wanted in parts if wanted not in weights]
        if missing:
            raise ModelError(f"the checkpoint lacks {missing[0]}; download it again")
        fused[name.format("qkv")] = torch.cat([weights[wanted] for wanted in parts])
    return fused


def build_frozen(make: Callable[[], nn.Module], seed: int = 0, empty: bool = False) -> nn.Module:
    """Return a network in eval mode without gradients, freshly initialised from ``seed``.

    ``empty`` allocates nothing: every tensor must then come from `load_weights`. It saves the time
    and the memory of a random initialisation.
    """
    with torch.random.fork_rng(devices=[]), torch.device("meta" if empty else "cpu"):
        torch.manual_seed(FIRST_SEED + seed)
        network = make()
    return network.eval().requires_grad_(False)


def load_weights(network: nn.Module, weights: Weights, embeddings: tuple[str, ...], init: str, path: Path) -> None:
    """Fill the network with ``weights``, except for those that ``init`` leaves random.

    Parameters
    ----------
    embeddings
        Prefixes of the parameters that ``blocks`` still takes from the checkpoint.
    init
        ``false``, which takes everything; ``blocks``, which takes the embeddings and leaves the layers
        random; or ``all``, which leaves everything random: controls for what a result owes to training.

    Raises
    ------
    ModelError
        If a tensor is missing, unknown or of another shape.
    """
    own = network.state_dict()
    missing, unknown = sorted(own.keys() - weights.keys()), sorted(weights.keys() - own.keys())
    if missing or unknown:
        parts = [f"{len(names)} {word}, such as {names[0]}" for word, names in _named(missing, unknown) if names]
        message = f"{path} does not fit this model: {' and '.join(parts)}"
        raise ModelError(f"{message}; check that config and weights belong together")
    for name, tensor in own.items():
        if tensor.shape != weights[name].shape:
            shapes = f"{name} is {tuple(weights[name].shape)}, expected {tuple(tensor.shape)}"
            raise ModelError(f"{path} does not fit its config: {shapes}")
    if init == "all":
        return
    kept = weights if init == "false" else {n: w for n, w in weights.items() if n.startswith(embeddings)}
    network.load_state_dict(kept, strict=init == "false", assign=True)


def _named(missing: list[str], unknown: list[str]) -> tuple[tuple[str, list[str]], ...]:
    return ("tensors are missing", missing), ("tensors are unknown", unknown)
