"""Sums, counts and order statistics over the batch that the rows of a forward belong to."""

from __future__ import annotations

import torch
from torch import Tensor

from biosae.ops.topk_search import largest_of_all


class Batch:
    """A batch whose rows are all at hand.

    Losses and selections that look beyond single rows ask it. A subclass may answer for a batch of which only some
    rows are at hand; then every loss is still that of the whole batch.
    """

    def count(self, n: int) -> int:
        """Return a number of rows or entries in the batch, given the number at hand."""
        return n

    def sum(self, partial: Tensor) -> Tensor:
        """Return a sum over the batch, given the sum over the rows at hand; differentiable."""
        return partial

    def min(self, lowest: Tensor) -> Tensor:
        """Return a minimum over the batch, given the minimum over the rows at hand."""
        return lowest

    def largest(self, values: Tensor, n: int) -> Tensor:
        """Return the places, ascending, of the values at hand that are among the ``n`` largest of the batch.

        The batch has more than ``n`` values, all positive.
        """
        return largest_of_all(values, n)

    def uniform(self, n_rows: int, width: int, dtype: torch.dtype, generator: torch.Generator) -> Tensor:
        """Draw ``(n_rows, width)`` numbers between 0 and 1 for the next rows at hand."""
        return torch.rand(n_rows, width, generator=generator, device=generator.device, dtype=dtype)


WHOLE_BATCH = Batch()
