"""Sparsity penalties on codes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from biosae.saes.batch import WHOLE_BATCH, Batch
from biosae.saes.codes import Codes
from biosae.saes.forward import Progress

SMOOTHING = 1e-3
"""Size of a code below which its penalty is approximately linear."""


def l1(codes: Codes, n_tokens: int) -> Tensor:
    """Return the sum of codes over ``n_tokens``."""
    return codes.values.sum() / n_tokens


def power(codes: Codes, p: float, n_tokens: int, smoothing: float = SMOOTHING) -> Tensor:
    """Return the sum of codes to the power ``p`` over ``n_tokens``; equal to `l1` for ``p = 1``.

    Codes far below ``smoothing`` are penalised linearly: the slope of ``f ** p`` at 0 is infinite.
    """
    return ((codes.values + smoothing) ** p - smoothing**p).sum() / n_tokens


class AnnealedPower(nn.Module):
    """A power that falls from 1 to ``p_end`` while its weight keeps the penalty's size.

    After ``start_fraction`` of the run the power takes 10 equal steps down, the last at the run's end
    (Karvonen et al. 2024, arXiv 2408.00113, section 4). At each, the weight is multiplied by the ratio
    of the penalty with the old power to that with the new one.
    """

    N_STEPS = 10

    def __init__(self, p_end: float, start_fraction: float, smoothing: float = SMOOTHING):
        super().__init__()
        self.p_end, self.start_fraction, self.smoothing = p_end, start_fraction, smoothing
        self.register_buffer("p", torch.ones((), dtype=torch.float64))
        self.register_buffer("weight", torch.ones((), dtype=torch.float64))

    def forward(self, codes: Codes, n_tokens: int) -> Tensor:
        """Return the penalty of codes at the current power."""
        return self.weight.float() * self._power(codes, self.p.item(), n_tokens)

    def _power(self, codes: Codes, p: float, n_tokens: int) -> Tensor:
        return power(codes, p, n_tokens, self.smoothing)

    @torch.no_grad()
    def update(self, codes: Codes, progress: Progress, batch: Batch = WHOLE_BATCH) -> None:
        """Move the power to its value after a step with these codes of a batch."""
        over = ((progress.step + 1) / progress.total_steps - self.start_fraction) / max(1 - self.start_fraction, 1e-12)
        n_done = min(max(int(over * self.N_STEPS), 0), self.N_STEPS - 1)
        p = 1 - (1 - self.p_end) * n_done / (self.N_STEPS - 1)
        if p == self.p.item():
            return
        before, after = batch.sum(torch.stack([self._power(codes, self.p.item(), 1), self._power(codes, p, 1)]))
        if not before > 0:
            return
        self.weight.mul_(before / after)
        self.p.fill_(p)
