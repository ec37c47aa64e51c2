"""A number of features per token that falls to its final value during the run."""

from __future__ import annotations

import torch
from torch import nn

from biosae.saes.forward import Progress


class AnnealedK(nn.Module):
    """Falls linearly from the width of the activations to ``k`` over the first share of the run.

    Parameters
    ----------
    start, k
        First and last value.
    fraction
        Share of the run over which it falls; 0 keeps it at ``k``.
    """

    def __init__(self, start: int, k: int, fraction: float):
        super().__init__()
        self.start, self.k, self.fraction = max(start, k), k, fraction
        self.register_buffer("now", torch.tensor(self.start if fraction > 0 else k))

    @property
    def value(self) -> int:
        return self.now.item()

    @property
    def is_over(self) -> bool:
        return self.value == self.k

    def update(self, progress: Progress) -> None:
        """Move to the value that follows this step."""
        over = Progress(progress.step + 1, progress.total_steps, progress.dead).ramp(self.fraction)
        self.now.fill_(round(self.start + (self.k - self.start) * over))
