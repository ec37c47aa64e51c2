"""Simpler axes, encoded and pooled exactly like SAE features: neurons, PCA, ICA, NMF, random directions."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import torch
from scipy import sparse
from sklearn.decomposition import NMF, PCA, FastICA
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

from biosae.activations.store import ActivationStore
from biosae.errors import DataError
from biosae.progress import progress_bar
from biosae.saes.codes import Codes, Support

from .encode import Encoder, encode_shard
from .pool import pool

FIT_TOKENS = 20_000
NMF_COMPONENTS = 64  # at most; its fit is the slowest
NMF_UPDATES = 50


@dataclass(frozen=True, eq=False)
class LinearAxes:
    """Both directions of some axes, the ``k`` largest kept in every token.

    Attributes
    ----------
    mean
        ``(d_in,)`` what is subtracted first.
    axes
        ``(n, d_in)`` one reading direction a row; ``d_sae`` is ``2 n``, the positive sides first.
    k
        Features kept in a token; fewer where fewer are above zero.
    """

    mean: Tensor
    axes: Tensor
    k: int

    @property
    def d_sae(self) -> int:
        return 2 * len(self.axes)

    def encode(self, x: Tensor) -> Codes:
        """Codes of ``(n_tokens, d_in)`` activations."""
        projected = (x - self.mean) @ self.axes.T
        return keep_largest(torch.cat([projected, -projected], dim=1).clamp(min=0), self.k)


@dataclass(frozen=True, eq=False)
class NmfAxes:
    """Non-negative mixtures of the rectified neurons and their negatives (Lee and Seung 1999).

    Attributes
    ----------
    mean
        ``(d_in,)`` what is subtracted first.
    parts
        ``(n, 2 d_in)`` non-negative components.
    k
        Features kept in a token.
    """

    mean: Tensor
    parts: Tensor
    k: int

    @property
    def d_sae(self) -> int:
        return len(self.parts)

    def encode(self, x: Tensor) -> Codes:
        """Codes of ``(n_tokens, d_in)`` activations, by multiplicative updates with the components fixed."""
        both = rectified(x - self.mean)
        target, gram = both @ self.parts.T, self.parts @ self.parts.T
        weights = target.clone()
        for _ in range(NMF_UPDATES):
            weights *= target / (weights @ gram).clamp(min=1e-12)
        return keep_largest(weights, self.k)


def keep_largest(codes: Tensor, k: int) -> Codes:
    """The ``k`` largest of the non-negative codes in every row."""
    values, features = codes.topk(min(k, codes.shape[1]), dim=1)
    return Codes(values.reshape(-1), Support.from_indices(features, codes.shape[1]))


def rectified(x: Tensor) -> Tensor:
    """Positive and negative parts side by side, ``(n, 2 d)``."""
    return torch.cat([x, -x], dim=1).clamp(min=0)


def fit_controls(x: Tensor, d_sae: int, k: int, seed: int) -> dict[str, Encoder]:
    """The controls fitted to ``(n_tokens, d_in)`` activations, each with ``k`` features a token.

    ``random`` directions (an SAE before training) have about ``d_sae`` features; ``neurons``,
    ``pca`` and ``ica`` have ``2 d_in`` at most, there being no more axes.
    """
    d_in = x.shape[1]
    mean = x.mean(dim=0)
    centred = (x - mean).double().numpy()
    random = np.random.default_rng(seed).normal(size=(max(1, d_sae // 2), d_in))
    pca = PCA(min(d_in, len(x)), random_state=seed).fit(centred)
    n_own = max(1, int((pca.explained_variance_ > 1e-10 * pca.explained_variance_[0]).sum()))
    with warnings.catch_warnings():  # a control need not converge to the last digit
        warnings.simplefilter("ignore", ConvergenceWarning)
        ica = FastICA(n_own, random_state=seed, whiten="unit-variance").fit(centred)
        nmf = NMF(min(NMF_COMPONENTS, d_in), init="nndsvda", random_state=seed).fit(rectified(x - mean).numpy())
    rows = {
        "neurons": np.eye(d_in) / np.maximum(centred.std(axis=0), 1e-12)[:, None],
        "pca": pca.components_[:n_own] / np.sqrt(pca.explained_variance_[:n_own])[:, None],
        "ica": ica.components_,
        "random": random / np.linalg.norm(random, axis=1, keepdims=True),
    }
    controls: dict[str, Encoder] = {name: LinearAxes(mean, _tensor(axes), k) for name, axes in rows.items()}
    return controls | {"nmf": NmfAxes(mean, _tensor(nmf.components_), k)}


def pooled_controls(
    store: ActivationStore, train: np.ndarray, d_sae: int, k: int, seed: int, batch_tokens: int = 8192
) -> dict[str, sparse.csr_matrix]:
    """``(n_samples, n_features)`` largest codes of every sample for each control.

    Parameters
    ----------
    train
        Rows of the samples that the SAE was trained on; the controls are fitted to their tokens.
    d_sae, k
        Features of the SAE, and how many of them are active in a token on average.

    Raises
    ------
    DataError
        If no train sample has tokens.
    """
    controls = fit_controls(_some_tokens(store, train, seed), d_sae, k, seed)
    blocks: dict[str, list[sparse.csr_matrix]] = {name: [] for name in controls}
    first = 0
    with progress_bar("encoding controls", store.n_tokens, "tokens") as advance:
        for shard in store.shards():
            end = int(shard.sample.max()) + 1
            for name, control in controls.items():
                codes = encode_shard(control, shard, batch_tokens, torch.device("cpu"))
                blocks[name].append(pool(codes, first, end).max)
            first = end
            advance(len(shard))
    rest = store.n_samples - first
    return {
        name: sparse.vstack([*parts, sparse.csr_matrix((rest, controls[name].d_sae), dtype=np.float32)], format="csr")
        for name, parts in blocks.items()
    }


def _some_tokens(store: ActivationStore, samples: np.ndarray, seed: int) -> Tensor:
    """At most `FIT_TOKENS` content tokens of the samples, drawn evenly from all shards."""
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.zeros(store.n_samples, dtype=torch.bool)
    chosen[torch.from_numpy(np.asarray(samples))] = True
    share = min(1.0, FIT_TOKENS / max(1, store.n_tokens * chosen.float().mean().item()))
    parts = []
    for shard in store.shards():
        wanted = chosen[shard.sample] & ~shard.special & (torch.rand(len(shard), generator=generator) < share)
        parts.append(shard.values[wanted].float())
    drawn = torch.cat(parts) if parts else torch.empty(0, 0)
    if len(drawn) < 2:
        raise DataError("the train samples have no tokens to fit the controls to")
    return drawn


def _tensor(rows: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(rows, dtype=np.float32))
