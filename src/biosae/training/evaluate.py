"""Quality of an SAE on activations, by the inference path and without changing any state."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from biosae.activations.source import ActivationSource
from biosae.distributed.processes import SINGLE, ReplicaGroup
from biosae.errors import DataError
from biosae.saes.base import SAE
from biosae.saes.forward import Progress

from .data_parallel import batch_of
from .transfer import on_device


def evaluate(sae: SAE, source: ActivationSource, batch_size: int, group: ReplicaGroup = SINGLE) -> dict[str, float]:
    """Return the numbers of evaluation.json over one pass of ``source``, summed in float64; ``group`` shares the work.

    ``loss``
        The objective as a mean over tokens: penalties have their full weight, and no feature counts as dead, so
        that it is the reconstruction loss alone in the TopK family.
    ``fvu``
        Squared error over the variance around the source's own mean: 0 for a perfect reconstruction,
        1 for one that is always the mean.
    ``nmse``
        Mean over tokens of squared error over squared norm, so that large tokens weigh no more than small.
    ``cosine``
        Mean cosine between activation and reconstruction.
    ``l0``
        Mean number of active features of a token, measured.
    ``dead_fraction``
        Share of features that fire on no token of the source.
    ``relative_reconstruction_bias``
        Mean of ``|r|^2`` over mean of ``x . r``, around the fitted centre; below 1 the reconstruction ``r`` is
        shrunken (Rajamanoharan et al. 2024, arXiv 2404.16014, equation 10).
    """
    return evaluate_each([sae], source, batch_size, group)[0]


@torch.no_grad()
def evaluate_each(
    saes: Sequence[SAE], source: ActivationSource, batch_size: int, group: ReplicaGroup = SINGLE
) -> list[dict[str, float]]:
    """Evaluate several SAEs on one device as `evaluate` does; ``source`` is read once. A collective of ``group``."""
    sums = [_Sums(sae, group) for sae in saes]
    batches = source.batches(batch_size, seed=0, group=group)
    for x in on_device(batches, saes[0].W_dec.device):
        for each in sums:
            each.add(x)
    for each in sums:
        each.all_reduce()
    return [each.metrics() for each in sums]


SUMMED = ("error", "relative_error", "x_square", "cosine", "l0", "reconstruction_square", "product")


class _Sums:
    """Numerators and denominators, divided once at the end."""

    def __init__(self, sae: SAE, group: ReplicaGroup):
        self.sae, self.group, self.batch = sae, group, batch_of(group)
        self.n_tokens = 0
        device = sae.W_dec.device
        self.loss = torch.zeros((), dtype=torch.float64, device=device)  # of all processes, unlike the totals
        self.totals = {name: torch.zeros((), dtype=torch.float64, device=device) for name in SUMMED}
        self.totals["x"] = torch.zeros(sae.d_in, dtype=torch.float64, device=device)
        self.fired = torch.zeros(sae.d_sae, dtype=torch.bool, device=device)
        self._run_is_over = Progress(1, 1, torch.zeros_like(self.fired))

    def add(self, x: Tensor) -> None:
        forward = self.sae.inference_forward(x, self.batch)
        codes = forward.codes
        reconstruction = self.sae.denormalise(forward.reconstruction, x).double()
        loss = sum(self.sae.losses(forward, self._run_is_over).values())
        centre = self.sae.denormalise(torch.zeros_like(x), x).double()
        x = x.double()
        centred, centred_reconstruction = x - centre, reconstruction - centre
        error = (x - reconstruction).square().sum(1)
        self.n_tokens += len(x)
        self.fired |= codes.firing_counts() > 0
        self.loss += loss.double() * forward.n_tokens
        self._add("error", error.sum())
        self._add("relative_error", torch.nan_to_num(error / x.square().sum(1), nan=0.0).sum())
        self._add("x", x.sum(0))
        self._add("x_square", x.square().sum())
        self._add("cosine", torch.cosine_similarity(x, reconstruction, dim=1).sum())
        self._add("l0", codes.l0().sum())
        self._add("reconstruction_square", centred_reconstruction.square().sum())
        self._add("product", (centred * centred_reconstruction).sum())

    def _add(self, name: str, amount: Tensor) -> None:
        self.totals[name] += amount

    def all_reduce(self) -> None:
        """Add the totals of the other processes."""
        self.n_tokens = self.group.count(self.n_tokens)
        self.fired = self.group.all_reduce_sum(self.fired.int()) > 0
        self.group.all_reduce_(list(self.totals.values()))

    def metrics(self) -> dict[str, float]:
        if self.n_tokens == 0:
            raise DataError("there is no held-out activation to evaluate on; leave more samples out of training")
        totals = self.totals
        variance = totals["x_square"] - totals["x"].square().sum() / self.n_tokens
        return {
            "loss": float(self.loss / self.n_tokens),
            "fvu": float(totals["error"] / variance),
            "nmse": float(totals["relative_error"] / self.n_tokens),
            "cosine": float(totals["cosine"] / self.n_tokens),
            "l0": float(totals["l0"] / self.n_tokens),
            "dead_fraction": 1 - int(self.fired.sum()) / self.sae.d_sae,
            "relative_reconstruction_bias": float(totals["reconstruction_square"] / totals["product"]),
            "n_tokens": self.n_tokens,
        }
