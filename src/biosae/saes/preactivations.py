"""The encoder's output before selection, computed only where it is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from .codes import Support


@dataclass(frozen=True, eq=False)
class PreActivations:
    """``inputs @ weight + bias``, an ``(n_rows, d_sae)`` matrix.

    Attributes
    ----------
    inputs
        ``(n_rows, d_in)`` normalised activations less the decoder bias.
    weight, bias
        ``(d_in, d_sae)`` and ``(d_sae,)``.
    """

    inputs: Tensor
    weight: Tensor
    bias: Tensor

    @property
    def n_rows(self) -> int:
        return self.inputs.shape[0]

    @property
    def d_sae(self) -> int:
        return self.weight.shape[1]

    @cached_property
    def dense(self) -> Tensor:
        """The whole ``(n_rows, d_sae)`` matrix; differentiable."""
        return torch.addmm(self.bias, self.inputs, self.weight)

    def above(self, lowest: Tensor | float) -> Support | None:
        """The entries above ``lowest`` (a number, or one a feature), or None for all where that is cheaper."""
        return None

    def at(self, support: Support | None) -> Tensor:
        """``(n_entries,)`` the matrix at the support's entries, whole without one; differentiable."""
        return self.dense if support is None else self.dense.reshape(-1)[support.positions]

    def columns(self, features: Tensor) -> Tensor:
        """``(n_rows, n_features)`` the matrix for some features; differentiable."""
        return torch.addmm(self.bias[features], self.inputs, self.weight[:, features])
