"""A training forward and where its run stands: what losses are computed from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from biosae.distributed.processes import SINGLE, ReplicaGroup
from biosae.ops.support import Support

from .codes import Codes
from .preactivations import PreActivations


@dataclass(frozen=True, eq=False)
class ForwardOutput:
    """One training forward, in normalised units.

    Attributes
    ----------
    x
        ``(n, d_in)`` the normalised activations.
    pre
        Encoder output before selection.
    codes
        Selected codes.
    decode
        Makes a reconstruction of codes.
    token_unit
        ``(n, 1)`` one normalised unit as a share of the token's norm, where losses count in that; else None.
    ranks
        The processes that share the batch: rows here are those of this process, and losses are its share of the
        batch's, so that they add up to it.
    """

    x: Tensor
    pre: PreActivations
    codes: Codes
    decode: Callable[[Codes], Tensor]
    token_unit: Tensor | None = None
    ranks: ReplicaGroup = SINGLE

    @cached_property
    def n_tokens(self) -> int:
        """Rows of the whole batch, those of other processes included."""
        return self.ranks.count(len(self.x))

    @cached_property
    def reconstruction(self) -> Tensor:
        """``(n, d_in)``, made when it is first asked for."""
        return self.decode(self.codes)

    @cached_property
    def residual(self) -> Tensor:
        """``(n, d_in)`` what the reconstruction leaves over, without gradient."""
        return self.x - self.reconstruction.detach()

    def cache_residual(self, residual: Tensor) -> None:
        """Takes the residual from a loss that has it already, so that codes are not decoded again for it."""
        self.__dict__["residual"] = residual

    def error(self, reconstruction: Tensor) -> Tensor:
        """Mean over tokens of the squared norm of what a reconstruction leaves over, in the unit of the losses."""
        if self.token_unit is None:
            if reconstruction is self.__dict__.get("reconstruction"):
                return _SquaredNorm.apply(reconstruction, self.residual, self.n_tokens)
            return squared_error(self.x, reconstruction, self.n_tokens)
        return squared_error(self.token_unit * self.x, self.token_unit * reconstruction, self.n_tokens)

    def over_features(self, partial: Tensor) -> Tensor:
        """A sum over the features here, as one over all of them."""
        return self.pre.shards.total(partial)

    def in_loss_unit(self, codes: Codes) -> Codes:
        """Codes as penalties count them."""
        if self.token_unit is None:
            return codes
        return Codes(codes.values * _per_row(self.token_unit, codes.support), codes.support)


@dataclass(frozen=True, eq=False)
class Progress:
    """Where a run stands: ``step`` of ``total_steps``, and ``dead`` ``(d_sae,) bool``, the silent features."""

    step: int
    total_steps: int
    dead: Tensor

    @property
    def fraction(self) -> float:
        """Share of the run that is over, 0 to 1."""
        return self.step / self.total_steps

    def ramp(self, share: float) -> float:
        """Rises from 0 to 1 over the first ``share`` of the run."""
        return min(1.0, self.fraction / share) if share > 0 else 1.0


def _per_row(numbers: Tensor, support: Support | None) -> Tensor:
    """``(n, 1)`` numbers lined up with the values at a support, or with whole rows without one."""
    return numbers if support is None else numbers.view(-1).index_select(0, support.rows)


def squared_error(x: Tensor, reconstruction: Tensor, n_rows: int) -> Tensor:
    """Sum over rows of the squared Euclidean distance, for each of ``n_rows``."""
    return nn.functional.mse_loss(reconstruction, x, reduction="sum") / n_rows


class _SquaredNorm(Function):
    """`squared_error` of a reconstruction whose residual is at hand."""

    @staticmethod
    def forward(ctx, reconstruction: Tensor, residual: Tensor, n_rows: int) -> Tensor:
        ctx.save_for_backward(residual)
        ctx.n_rows = n_rows
        flat = residual.reshape(-1)
        return flat.dot(flat) / n_rows

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor):
        (residual,) = ctx.saved_tensors
        return residual * (-2 * grad / ctx.n_rows), None, None
