"""Simpler axes, encoded and pooled exactly like SAE features: neurons, PCA, ICA, NMF, random directions."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from scipy import sparse
from sklearn.decomposition import NMF, PCA, FastICA
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits
from torch import Tensor

from biosae.activations.store import ActivationShard, ActivationStore
from biosae.errors import DataError
from biosae.ops.linear import linear
from biosae.ops.support import Support
from biosae.progress import progress_bar
from biosae.saes.codes import Codes
from biosae.saes.parts.selection import top_k
from biosae.saes.preactivations import PreActivations

from .encode import Encoder
from .pool import PooledAxes

FIT_TOKENS = 20_000
NMF_COMPONENTS = 64  # at most; its fit is the slowest
NMF_UPDATES = 50


@dataclass(frozen=True, eq=False)
class LinearAxes:
    """Directions of the activation space, the ``k`` largest positive readings kept in every token.

    Attributes
    ----------
    mean
        ``(d_in,)`` what is subtracted first.
    axes
        ``(n, d_in)`` one reading direction a row.
    k
        Features kept per token; fewer where fewer are above zero.
    """

    mean: Tensor
    axes: Tensor
    k: int

    @property
    def d_sae(self) -> int:
        return len(self.axes)

    def encode(self, x: Tensor) -> Codes:
        """Codes of ``(n_tokens, d_in)`` activations."""
        with torch.no_grad():
            pre = PreActivations(x, self.mean, self.axes.T, x.new_zeros(self.d_sae))
            return top_k(pre, min(self.k, self.d_sae))


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
        Features kept per token.
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
        target, gram = linear(both, self.parts), self.parts @ self.parts.T  # gram is its own transpose
        weights = target.clone()
        with one_thread():
            for _ in range(NMF_UPDATES):
                weights *= target / linear(weights, gram).clamp_(min=1e-12)
        values, parts = weights.topk(min(self.k, self.d_sae), dim=1)
        return Codes(values.reshape(-1), Support.from_indices(parts, self.d_sae))


@dataclass(frozen=True, eq=False)
class AtL0:
    """An encoder whose codes below a common threshold are dropped, so that it is no denser than another.

    Attributes
    ----------
    encoder
        Any encoder.
    threshold
        Codes at or below it are dropped.
    """

    encoder: Encoder
    threshold: float

    @classmethod
    def fitted(cls, encoder: Encoder, x: Tensor, l0: float) -> AtL0:
        """Keep ``l0`` codes per token of ``(n_tokens, d_in)`` activations; all of them if there are fewer."""
        codes = encoder.encode(x).entries()[2].sort(descending=True).values
        n_kept = round(l0 * len(x))
        return cls(encoder, float(codes[n_kept]) if n_kept < len(codes) else 0.0)

    @property
    def d_sae(self) -> int:
        return self.encoder.d_sae

    def encode(self, x: Tensor) -> Codes:
        """Codes of ``(n_tokens, d_in)`` activations."""
        codes = self.encoder.encode(x)
        return Codes(torch.where(codes.values > self.threshold, codes.values, 0), codes.support)


@contextmanager
def one_thread() -> Iterator[None]:
    """Long chains of small products: threads that wait for each other make them ten times slower on a busy machine."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(n_threads)


def rectified(x: Tensor) -> Tensor:
    """Positive and negative parts side by side, ``(n, 2 d)``."""
    return torch.cat([x, -x], dim=1).clamp(min=0)


def fit_controls(x: Tensor, d_sae: int, k: int, seed: int) -> dict[str, Encoder]:
    """The controls fitted to ``(n_tokens, d_in)`` activations, each with ``k`` features per token.

    ``random`` directions (an SAE before training) have about ``d_sae`` features; ``neurons``, ``pca`` and
    ``ica`` have ``2 d_in`` at most, either side of each axis apart, and ``rectified neurons`` the positive sides.
    """
    d_in = x.shape[1]
    mean = x.mean(dim=0)
    centred = (x - mean).double().numpy()
    random = np.random.default_rng(seed).normal(size=(max(1, d_sae // 2), d_in))
    neurons = np.eye(d_in) / np.maximum(centred.std(axis=0), 1e-12)[:, None]
    pca = PCA(min(d_in, len(x)), random_state=seed).fit(centred)
    n_own = max(1, int((pca.explained_variance_ > 1e-10 * pca.explained_variance_[0]).sum()))
    ica = FastICA(n_own, random_state=seed, whiten="unit-variance")
    nmf = NMF(min(NMF_COMPONENTS, d_in), init="nndsvda", random_state=seed)
    with one_thread(), warnings.catch_warnings(), progress_bar("fitting controls", 2, "models") as advance:
        warnings.simplefilter("ignore", ConvergenceWarning)  # a control need not converge to the last digit
        ica.fit(centred)
        advance()
        nmf.fit(rectified(x - mean).numpy())
        advance()
    rows = {
        "neurons": _either_side(neurons),
        "rectified neurons": neurons,
        "pca": _either_side(pca.components_[:n_own] / np.sqrt(pca.explained_variance_[:n_own])[:, None]),
        "ica": _either_side(ica.components_),
        "random": _either_side(random / np.linalg.norm(random, axis=1, keepdims=True)),
    }
    controls: dict[str, Encoder] = {name: LinearAxes(mean, _tensor(axes), k) for name, axes in rows.items()}
    return controls | {"nmf": NmfAxes(mean, _tensor(nmf.components_), k)}


def pool_axes(store: ActivationStore, encoders: dict[str, Encoder], batch_tokens: int = 8192) -> dict[str, PooledAxes]:
    """Every content token of the store read with each of some encoders, pooled per sample."""
    blocks: dict[str, list[sparse.csr_matrix]] = {name: [] for name in encoders}
    n_active = {name: np.zeros(encoder.d_sae) for name, encoder in encoders.items()}
    first = n_tokens = 0
    with progress_bar("encoding controls", store.n_tokens * len(encoders), "tokens") as advance:
        for shard in store.shards():
            end = int(shard.sample.max()) + 1
            for name, encoder in encoders.items():
                largest, counts = _pooled_shard(encoder, shard, first, end, batch_tokens)
                blocks[name].append(sparse.csr_matrix(largest))
                n_active[name] += counts
                advance(len(shard))
            first, n_tokens = end, n_tokens + int((~shard.special).sum())
    for name, encoder in encoders.items():  # the last samples may have no tokens
        blocks[name].append(sparse.csr_matrix((store.n_samples - first, encoder.d_sae), dtype=np.float32))
    return {name: PooledAxes(sparse.vstack(blocks[name], format="csr"), n_active[name] / n_tokens) for name in encoders}


def _pooled_shard(
    encoder: Encoder, shard: ActivationShard, first: int, end: int, batch_tokens: int
) -> tuple[np.ndarray, np.ndarray]:
    """Largest codes ``(end - first, n_axes) float32`` of consecutive samples, tokens ``(n_axes,)`` of each axis."""
    largest = np.zeros((end - first) * encoder.d_sae, dtype=np.float32)
    counts = np.zeros(encoder.d_sae)
    content = ~shard.special
    batches = shard.values[content].split(batch_tokens), shard.sample[content].split(batch_tokens)
    for x, sample in zip(*batches, strict=True):
        row, feature, code = _above_zero(encoder.encode(x.float()))
        place = (sample.numpy()[row] - first) * encoder.d_sae + feature
        np.maximum.at(largest, place, code)
        counts += np.bincount(feature, minlength=encoder.d_sae)
    return largest.reshape(-1, encoder.d_sae), counts


def _above_zero(codes: Codes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row, feature and value of every code above zero, in any order: sorting them would take most of the time."""
    if codes.support is None:
        return tuple(column.numpy() for column in codes.entries())
    kept = codes.values > 0
    return tuple(column[kept].numpy() for column in (codes.support.rows, codes.support.features, codes.values))


def some_tokens(store: ActivationStore, samples: np.ndarray, seed: int) -> Tensor:
    """At most about `FIT_TOKENS` content tokens of the samples (rows), drawn evenly from all shards.

    Raises
    ------
    DataError
        If the samples have fewer than two.
    """
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


def _either_side(axes: np.ndarray) -> np.ndarray:
    """The axes, and then the same axes the other way round."""
    return np.concatenate([axes, -axes])


def _tensor(rows: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(rows, dtype=np.float32))
