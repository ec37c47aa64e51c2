"""A number of features a token that falls to its final value during the run."""

from __future__ import annotations

import torch
from torch import nn

from biosae.saes.forward import Progress


class AnnealedK(nn.Module):
    """Falls linearly from the width of the activations to ``k`` over the first share of the run.

    Parameters
    ----------
    start, k
        Value at the first step and in the end.
    fraction
        Share of the run that the fall takes; 0 starts at ``k``.
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
        """Moves to where the value belongs after this step."""
        over = Progress(progress.step + 1, progress.total_steps, progress.dead).ramp(self.fraction)
        self.now.fill_(round(self.start + (self.k - self.start) * over))
