"""Index structure of a sparse code: which entries of a batch are kept, by row and by feature."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from .dispatch import implementation


@dataclass(frozen=True, eq=False)
class ByFeature:
    """The entries of a support, feature after feature.

    Attributes
    ----------
    entries
        ``(n_entries,) int64`` numbers of the entries in the support.
    rows
        ``(n_entries,) int64`` their rows.
    offsets
        ``(d_sae + 1,) int64``; feature ``j`` owns places ``offsets[j]:offsets[j + 1]``.
    """

    entries: Tensor
    rows: Tensor
    offsets: Tensor


@dataclass(frozen=True, eq=False)
class Support:
    """The entries of an ``(n_rows, d_sae)`` matrix that are kept, row after row.

    Attributes
    ----------
    row_offsets
        ``(n_rows + 1,) int64``; row ``i`` owns entries ``row_offsets[i]:row_offsets[i + 1]``.
    features
        ``(n_entries,) int64`` column of each entry; no column twice in a row, any order within it.
    """

    row_offsets: Tensor
    features: Tensor
    d_sae: int

    @classmethod
    def from_indices(cls, indices: Tensor, d_sae: int) -> Support:
        """The same number of entries in every row, from ``(n_rows, k) int64`` columns."""
        n_rows, k = indices.shape
        row_offsets = torch.arange(n_rows + 1, device=indices.device) * k
        return cls(row_offsets, indices.reshape(-1), d_sae)

    @classmethod
    def from_mask(cls, mask: Tensor) -> Support:
        """The true entries of an ``(n_rows, d_sae) bool`` matrix."""
        return cls.from_positions(mask.reshape(-1).nonzero().squeeze(1), *mask.shape)

    @classmethod
    def from_positions(cls, positions: Tensor, n_rows: int, d_sae: int) -> Support:
        """Entries given as ascending ``row * d_sae + column``."""
        counts = torch.bincount(positions // d_sae, minlength=n_rows)
        return cls(torch.nn.functional.pad(counts.cumsum(0), (1, 0)), positions % d_sae, d_sae)

    @property
    def n_rows(self) -> int:
        return len(self.row_offsets) - 1

    @cached_property
    def rows(self) -> Tensor:
        """``(n_entries,) int64`` row of each entry."""
        numbers = torch.arange(self.n_rows, device=self.features.device)
        return numbers.repeat_interleave(self.row_offsets.diff(), output_size=len(self.features))

    @cached_property
    def counts(self) -> Tensor:
        """``(d_sae,) int64`` entries of each feature."""
        return torch.bincount(self.features, minlength=self.d_sae)

    @cached_property
    def by_feature(self) -> ByFeature:
        offsets = torch.nn.functional.pad(self.counts.cumsum(0), (1, 0))
        entries, rows = implementation("by_feature", self.features)(self, offsets)
        return ByFeature(entries, rows, offsets)

    @cached_property
    def positions(self) -> Tensor:
        """``(n_entries,) int64`` place of each entry in the flattened matrix."""
        return self.rows * self.d_sae + self.features


def per_feature(parameter: Tensor, support: Support | None) -> Tensor:
    """A ``(d_sae,)`` parameter lined up with the values at ``support``, or with whole rows without one."""
    return parameter if support is None else parameter.index_select(0, support.features)
