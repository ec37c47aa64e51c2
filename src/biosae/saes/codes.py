"""The sparse code of a batch of activations, kept only where it can differ from zero."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import torch
from torch import Tensor

from biosae.ops import sparse_products
from biosae.ops.linear import linear
from biosae.ops.support import Support


@dataclass(frozen=True, eq=False)
class Codes:
    """Non-negative codes of a batch, one interface whether they are stored sparse or dense.

    Attributes
    ----------
    values
        ``(n_entries,)`` at the entries of ``support``, or ``(n_rows, d_sae)`` when there is none.
    support
        Where the values stand; entries elsewhere are zero.
    leading
        Shape of the activations but for their width, where it is not ``(n_rows,)``.
    """

    values: Tensor
    support: Support | None = None
    leading: tuple[int, ...] | None = None

    @property
    def n_rows(self) -> int:
        return self.values.shape[0] if self.support is None else self.support.n_rows

    @property
    def d_sae(self) -> int:
        return self.values.shape[1] if self.support is None else self.support.d_sae

    def dense(self) -> Tensor:
        """``(n_rows, d_sae)``, or ``(*leading, d_sae)``, with every zero written out; differentiable."""
        values = self.values
        if self.support is not None:
            empty = values.new_zeros(self.n_rows * self.d_sae)
            values = empty.scatter(0, self.support.positions, values).view(self.n_rows, self.d_sae)
        return values if self.leading is None else values.view(*self.leading, self.d_sae)

    def of(self, features: Tensor) -> Tensor:
        """``(n_rows, n_features)`` codes of the given features, zeros written out."""
        if self.support is None:
            return self.values[:, features]
        column = torch.full((self.d_sae,), -1, dtype=torch.long, device=features.device)
        column[features] = torch.arange(len(features), device=features.device)
        place = column[self.support.features]
        chosen = place >= 0
        out = self.values.new_zeros(self.n_rows, len(features))
        return out.index_put((self.support.rows[chosen], place[chosen]), self.values[chosen])

    def entries(self) -> tuple[Tensor, Tensor, Tensor]:
        """Row, feature and value of every code above zero, by row and then by feature."""
        if self.support is None:
            rows, features = (self.values > 0).nonzero(as_tuple=True)
            return rows, features, self.values[rows, features]
        positive = (self.values > 0).nonzero().squeeze(1)
        order = positive[self.support.positions[positive].argsort()]
        return self.support.rows[order], self.support.features[order], self.values[order]

    def csr(self) -> Tensor:
        """``(n_rows, d_sae)`` torch sparse CSR tensor of the codes above zero."""
        rows, features, values = self.entries()
        counts = torch.bincount(rows, minlength=self.n_rows)
        offsets = torch.nn.functional.pad(counts.cumsum(0), (1, 0))
        shape = (self.n_rows, self.d_sae)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta")
            return torch.sparse_csr_tensor(offsets, features, values, shape, check_invariants=False)

    def l0(self) -> Tensor:
        """``(n_rows,) int64`` number of features above zero in each row."""
        if self.support is None:
            return (self.values > 0).sum(1)
        return torch.bincount(self.support.rows[self.values > 0], minlength=self.n_rows)

    def firing_counts(self) -> Tensor:
        """``(d_sae,) int64`` number of rows in which each feature is above zero."""
        if self.support is None:
            return (self.values > 0).sum(0)
        silent = ~(self.values > 0)  # few, so that hardly anything is left to count
        return self.support.counts - torch.bincount(self.support.features[silent], minlength=self.d_sae)

    def decode(self, W_dec: Tensor) -> Tensor:
        """``(n_rows, d_in)`` sum of decoder rows weighted by the codes; differentiable."""
        if self.support is None:
            return linear(self.values, W_dec.t())
        return sparse_products.decode(self.values, self.support, W_dec)
