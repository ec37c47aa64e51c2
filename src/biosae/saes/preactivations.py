"""Encoder pre-activations, computed lazily: only the requested entries are materialised.

A batch has ``n_rows * d_sae`` pre-activations and uses a few percent of them. They are computed one chunk of rows at a
time into one buffer; the entries that a selection keeps are stored, and only these get a gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property

import torch
from torch import Tensor

from biosae.ops.linear import few_rows, linear
from biosae.ops.sparse_products import sampled_product
from biosae.ops.support import Support
from biosae.ops.topk_search import batch_lower_bound, entries_above, largest_in_rows

from .batch import WHOLE_BATCH, Batch

CHUNK_VALUES = 1 << 21
"""Pre-activations in a chunk on a CPU: 8 MB, so that selection reads from the cache."""

GPU_CHUNK_VALUES = 1 << 27
"""Pre-activations in a chunk on a GPU: 256 MB of bfloat16, so that a batch takes few launches."""

WORTHWHILE_SHARE = 0.1
"""Share of active entries above which dense products are faster than sparse ones."""


class PreActivations:
    """``(x - b_dec) @ W_enc + b_enc``, an ``(n_rows, d_sae)`` matrix.

    Parameters
    ----------
    x
        ``(n_rows, d_in)`` normalised activations.
    b_dec, W_enc, b_enc
        ``(d_in,)``, ``(d_in, d_sae)`` and ``(d_sae,)``.
    batch
        The batch that the rows belong to.
    """

    def __init__(self, x: Tensor, b_dec: Tensor, W_enc: Tensor, b_enc: Tensor, batch: Batch = WHOLE_BATCH):
        self.x, self.b_dec, self.W_enc, self.b_enc, self.batch = x, b_dec, W_enc, b_enc, batch
        self._known: dict[Support, Tensor] = {}

    @property
    def n_rows(self) -> int:
        return self.x.shape[0]

    @property
    def d_sae(self) -> int:
        return self.W_enc.shape[1]

    @cached_property
    def dense(self) -> Tensor:
        """``(n_rows, d_sae)`` matrix of all entries; differentiable."""
        return self._affine(self.W_enc, self.b_enc)

    @cached_property
    def _inputs(self) -> Tensor:
        with torch.set_grad_enabled(self.x.requires_grad):  # a search may ask for them first, without gradients
            return self.x - self.b_dec.detach()

    def at(self, support: Support | None) -> Tensor:
        """Return the ``(n_entries,)`` values at the support that a search returned, all for None; differentiable."""
        return self.dense if support is None else self._known[support]

    def of(self, features: Tensor) -> PreActivations:
        """Return the pre-activations of some features."""
        weight = self.W_enc.t().index_select(0, features).t()  # rows of the layout in memory
        return PreActivations(self.x, self.b_dec, weight, self.b_enc.index_select(0, features), self.batch)

    def largest(self, k: int) -> Support:
        """Return the support of the ``k`` largest entries of every row."""
        return self.search(lambda chunk: largest_in_rows(chunk, k))

    def search(self, choose: Callable[[Tensor], tuple[Tensor, Tensor]]) -> Support:
        """Return the support of as many entries per row: ``choose`` gives their values and columns in a chunk."""
        with torch.no_grad():
            values, indices = zip(*(choose(chunk) for chunk in self._chunks()), strict=True)
        return self._remember(Support.from_indices(torch.cat(indices), self.d_sae), torch.cat(values).view(-1))

    def largest_of_batch(self, k: int) -> Support:
        """Return the support of the ``k * n`` largest positive entries of a batch of ``n`` rows, or of all if fewer."""
        wanted = k * self.batch.count(self.n_rows)
        bound = batch_lower_bound(self._sample(64), k)
        lowest = self.batch.min(torch.tensor(bound, dtype=torch.float64)).item()
        positions, values = self._above(lowest)
        if self.batch.count(len(values)) < wanted and lowest > 0:
            positions, values = self._above(0.0)
        if self.batch.count(len(values)) > wanted:
            kept = self.batch.largest(values, wanted)
            positions, values = positions[kept], values[kept]
        return self._remember(Support.from_positions(positions, self.n_rows, self.d_sae), values)

    def above(self, lowest: Tensor | float) -> Support | None:
        """Return the support of the entries above ``lowest``, one number or one per feature; None where most are."""
        if self._share_above(lowest) > WORTHWHILE_SHARE:
            return None
        positions, values = self._above(lowest)
        return self._remember(Support.from_positions(positions, self.n_rows, self.d_sae), values)

    def _remember(self, support: Support, values: Tensor) -> Support:
        values = values.to(self.x.dtype)
        if torch.is_grad_enabled():
            values = sampled_product(self._inputs, self.b_dec, self.W_enc, self.b_enc, values, support)
        self._known[support] = values
        return support

    def _affine(self, weight: Tensor, bias: Tensor) -> Tensor:
        """Return ``(x - b_dec) @ weight + bias``; its gradient to ``b_dec`` takes no matrix product."""
        none = self.b_dec - self.b_dec.detach()
        return linear(self._inputs, weight.t()) + (bias - none @ weight.detach())

    @torch.no_grad()
    def _above(self, lowest: Tensor | float) -> tuple[Tensor, Tensor]:
        """Return positions in the flattened matrix, ascending, and values."""
        positions, values, first = [], [], 0
        for chunk in self._chunks():
            found, entries = entries_above(chunk, lowest)
            values.append(entries)
            positions.append(found.add_(first))
            first += chunk.numel()
        return torch.cat(positions), torch.cat(values)

    @torch.no_grad()
    def _sample(self, n_rows: int) -> Tensor:
        """Return at most ``n_rows`` rows of the matrix, spread evenly."""
        step = max(1, -(-self.n_rows // n_rows))
        return self._product(self._inputs[::step])

    def _share_above(self, lowest: Tensor | float) -> float:
        return (self._sample(16) > lowest).float().mean().item()

    def _chunks(self) -> Iterator[Tensor]:
        """Yield the matrix in chunks of rows without gradient; each may be overwritten by the next."""
        inputs, weight, bias = self._inputs, self.W_enc.t(), self.b_enc
        n_rows = max(few_rows(inputs), (GPU_CHUNK_VALUES if inputs.is_cuda else CHUNK_VALUES) // self.d_sae)
        if torch.is_autocast_enabled(inputs.device.type):  # narrow once, where autocast would do it for every chunk
            narrow = torch.get_autocast_dtype(inputs.device.type)
            inputs, weight = inputs.to(narrow), weight.to(narrow)
            if not inputs.is_cuda:  # searches on a processor want wide numbers
                for rows in inputs.split(n_rows):
                    yield linear(rows, weight).to(bias.dtype).add_(bias)
                return
            bias = bias.to(narrow)
        room = inputs.new_empty(min(n_rows, self.n_rows), self.d_sae)
        for rows in inputs.split(n_rows):
            yield linear(rows, weight, bias, room[: len(rows)])

    def _product(self, inputs: Tensor) -> Tensor:
        return linear(inputs, self.W_enc.t()).to(inputs.dtype) + self.b_enc
