"""Real activations for the benches: those that `make demo` or `biosae train` left in a store."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from biosae.activations.source import ArrayActivations
from biosae.activations.store import ActivationStore
from biosae.errors import ArtefactError


def newest_store(root: Path = Path("runs/activations")) -> Path:
    """The folder of the store that was made last."""
    folders = sorted(root.glob("*/manifest.json"), key=lambda path: path.stat().st_mtime)
    if not folders:
        raise ArtefactError(f"there are no activations in {root}; make them with `make demo`")
    return folders[-1].parent


def train_and_test(folder: Path, n_train: int, n_test: int, seed: int = 0) -> tuple[ArrayActivations, ArrayActivations]:
    """Content tokens of nine tenths of the samples and of the other tenth, in random order."""
    store = ActivationStore(folder)
    samples = np.random.default_rng(seed).permutation(store.n_samples)
    cut = store.n_samples // 10
    return tuple(
        ArrayActivations(_tokens(store, part, n, seed))
        for part, n in ((samples[cut:], n_train), (samples[:cut], n_test))
    )


def _tokens(store: ActivationStore, samples: np.ndarray, n_tokens: int, seed: int) -> torch.Tensor:
    source = store.content_of(samples, buffer_tokens=store.n_tokens)
    (whole,) = source.batches(source.n_tokens, seed)
    return whole[:n_tokens].clone()
