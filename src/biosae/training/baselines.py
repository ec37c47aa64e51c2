"""Baselines of a comparison: the mean, the nearest train token, and as many principal components as features."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor

from biosae.activations.source import ActivationSource
from biosae.errors import DataError
from biosae.progress import progress_bar

NEIGHBOURS = 4096  # train tokens among which the nearest is looked for, at most
BATCH = 1024

Reconstruction = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class TrainTokens:
    """Mean, principal components and some of the tokens that SAEs were trained on.

    Attributes
    ----------
    mean
        ``(d_in,)`` float64.
    components
        ``(d_in, d_in)`` float64, one principal component per row, by descending variance.
    some
        ``(n, d_in)`` float64, at most 4,096 tokens in shuffled order.
    """

    mean: Tensor
    components: Tensor
    some: Tensor

    @classmethod
    def of(cls, source: ActivationSource, seed: int) -> TrainTokens:
        """Return the moments of all tokens of ``source``, read once; memory holds ``d_in`` squared numbers."""
        shift, total, square, some, n = None, 0.0, 0.0, [], 0
        for batch in source.batches(BATCH, seed):
            x = batch.double().cpu()
            some += [x] if n < NEIGHBOURS else []
            shift = x.mean(0) if shift is None else shift  # squares of centred numbers lose fewer digits
            total, square, n = total + (x - shift).sum(0), square + (x - shift).T @ (x - shift), n + len(x)
        if n == 0:
            raise DataError("the train samples have no token to fit the baselines to")
        offset = total / n
        components = torch.linalg.eigh(square / n - torch.outer(offset, offset)).eigenvectors.T.flip(0)
        return cls(shift + offset, components, torch.cat(some)[:NEIGHBOURS])

    def to_mean(self, x: Tensor) -> Tensor:
        """Return the mean for every token of ``(n, d_in)``."""
        return self.mean.expand_as(x)

    def to_nearest(self, x: Tensor) -> Tensor:
        """Return the nearest of some train tokens for every token of ``(n, d_in)``."""
        return self.some[torch.cdist(x, self.some).argmin(1)]

    def to_components(self, k: int) -> Reconstruction:
        """Return the reconstruction from the first ``k`` principal components."""
        first = self.components[:k]
        return lambda x: (x - self.mean) @ first.T @ first + self.mean


def baseline_table(sources: Mapping[str, ActivationSource], ks: Sequence[int], seed: int) -> pd.DataFrame:
    """Return the rows of baselines.csv: NMSE and FVU, as `evaluate` defines them, of reconstructions without an SAE.

    The best ``k`` independent components reconstruct like the first ``k`` principal ones: FastICA rotates their space.
    A train token is its own nearest, so that this baseline has no row for ``train``.

    Parameters
    ----------
    sources
        Activations by split; the baselines are fitted to those of ``train``.
    ks
        Numbers of components, 1 or more; those above ``d_in`` are taken as ``d_in``.
    seed
        Of the order in which train tokens are read.

    Returns
    -------
    DataFrame
        Columns ``baseline``, ``k``, ``split``, ``nmse``, ``fvu``, ``n_tokens``.
    """
    with progress_bar("Fitting baselines", len(sources) + 1, "passes") as advance:
        fitted = TrainTokens.of(sources["train"], seed)
        advance()
        named: dict[tuple[str, int | None], Reconstruction] = {
            ("mean", None): fitted.to_mean,
            ("nearest train token", None): fitted.to_nearest,
        }
        named |= {(f"pca-{k}", k): fitted.to_components(k) for k in sorted({min(k, len(fitted.mean)) for k in ks})}
        rows = []
        for split, source in sources.items():
            judged = {
                name: each for name, each in named.items() if (split, name[0]) != ("train", "nearest train token")
            }
            rows += [{"split": split} | row for row in _errors(judged, source, seed)]
            advance()
    table = pd.DataFrame(rows)[["baseline", "k", "split", "nmse", "fvu", "n_tokens"]]
    return table.astype({"k": "Int64"}).sort_values("baseline", kind="stable", ignore_index=True)


def _errors(named: Mapping[tuple[str, int | None], Reconstruction], source: ActivationSource, seed: int) -> list[dict]:
    """Errors of each reconstruction over one pass."""
    relative, error = dict.fromkeys(named, 0.0), dict.fromkeys(named, 0.0)
    total, square, n = 0.0, 0.0, 0
    for batch in source.batches(BATCH, seed):
        x = batch.double().cpu()
        total, square, n = total + x.sum(0), square + float(x.square().sum()), n + len(x)
        for name, reconstruct in named.items():
            of_token = (x - reconstruct(x)).square().sum(1)
            error[name] += float(of_token.sum())
            relative[name] += float(torch.nan_to_num(of_token / x.square().sum(1), nan=0.0).sum())
    if n == 0:
        raise DataError("there is no held-out activation to evaluate on; leave more samples out of training")
    variance = square - float(total.square().sum()) / n
    return [
        {"baseline": name, "k": k, "nmse": relative[name, k] / n, "fvu": error[name, k] / variance, "n_tokens": n}
        for name, k in named
    ]
