"""A running average of an SAE's weights."""

from __future__ import annotations

from copy import deepcopy

import torch

from biosae.saes.base import SAE


class WeightAverage:
    """An SAE whose weights are the exponential mean of another's over its last steps.

    Parameters
    ----------
    sae
        The SAE that learns.
    window_steps
        Steps that the mean reaches back; it is exact from the first step on.
    """

    def __init__(self, sae: SAE, window_steps: float):
        self.sae, self.window_steps = deepcopy(sae), max(window_steps, 1)

    @torch.no_grad()
    def update(self, sae: SAE, n_steps: int) -> None:
        """Takes in the weights after step ``n_steps`` (counted from 1); buffers are copied."""
        share = max(1 / n_steps, 1 / self.window_steps)
        for mine, theirs in zip(self.sae.parameters(), sae.parameters(), strict=True):
            mine.lerp_(theirs, share)
        for mine, theirs in zip(self.sae.buffers(), sae.buffers(), strict=True):
            mine.copy_(theirs)

    @torch.no_grad()
    def result(self) -> SAE:
        """The averaged SAE, with unit-norm decoder rows."""
        averaged = deepcopy(self.sae)
        averaged.normalize_decoder()
        return averaged
