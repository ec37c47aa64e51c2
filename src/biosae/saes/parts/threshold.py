"""The inference threshold of batch-wise selection."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from biosae.distributed.processes import SINGLE, ReplicaGroup
from biosae.saes.codes import Codes


class RunningThreshold(nn.Module):
    """Running mean of the smallest code that a training batch kept.

    With it a feature fires when its pre-activation passes one fixed number, so that a token's codes do
    not depend on its batch mates (Bussmann et al. 2024, arXiv 2412.06410, equation 7). The mean is
    debiased, so it is right from the first step on, and kept in float64.
    """

    def __init__(self):
        super().__init__()
        self.register_buffer("average", torch.zeros((), dtype=torch.float64))
        self.register_buffer("weight", torch.zeros((), dtype=torch.float64))

    @property
    def value(self) -> Tensor:
        """``() float64``; zero before the first update, which selects like ReLU."""
        return self.average / self.weight.clamp(min=torch.finfo(torch.float64).tiny)

    @property
    def is_estimated(self) -> bool:
        """Whether any batch was taken in."""
        return bool(self.weight > 0)

    def forget(self) -> None:
        """Starts the mean anew: the next batch is taken whole."""
        self.weight.zero_()
        self.average.zero_()

    @torch.no_grad()
    def update(self, codes: Codes, window_steps: float, ranks: ReplicaGroup = SINGLE) -> None:
        """Takes in one training batch; a batch without any code changes nothing.

        ``window_steps`` is how many steps the mean reaches back, ``ranks`` are the processes that hold the codes.
        """
        kept = codes.values[codes.values > 0]
        smallest = ranks.lowest(kept.min() if len(kept) else kept.new_tensor(torch.inf))
        if not torch.isfinite(smallest):
            return
        share = 1 / max(window_steps, 1)
        self.average.lerp_(smallest.double(), share)
        self.weight.lerp_(torch.ones_like(self.weight), share)
