"""The inference threshold of batch-wise selection."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from biosae.saes.batch import WHOLE_BATCH, Batch
from biosae.saes.codes import Codes


class RunningThreshold(nn.Module):
    """Running mean of the smallest code kept in a training batch.

    At inference a feature fires above this one number, so that the codes of a token do not depend on the other
    tokens of its batch (Bussmann et al. 2024, arXiv 2412.06410, equation 7). The mean is
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
        """True once a batch has been taken into the mean."""
        return bool(self.weight > 0)

    def forget(self) -> None:
        """Restart the mean: it is then that of the next batch."""
        self.weight.zero_()
        self.average.zero_()

    @torch.no_grad()
    def update(self, codes: Codes, window_steps: float, batch: Batch = WHOLE_BATCH) -> None:
        """Take the codes of one training batch into the mean; a batch without any code changes nothing.

        ``window_steps`` is the number of steps that the mean covers.
        """
        kept = codes.values[codes.values > 0]
        smallest = batch.min(kept.min() if len(kept) else kept.new_tensor(torch.inf))
        if not torch.isfinite(smallest):
            return
        share = 1 / max(window_steps, 1)
        self.average.lerp_(smallest.double(), share)
        self.weight.lerp_(torch.ones_like(self.weight), share)
