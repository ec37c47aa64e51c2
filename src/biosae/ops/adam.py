"""AdamW on clipped gradients, with matrices whose rows stay at unit norm."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.optim import AdamW

from .dispatch import implementation


@torch.no_grad()
def adamw_step(
    parameters: Sequence[nn.Parameter],
    optimizer: AdamW,
    scaler: torch.amp.GradScaler,
    max_grad_norm: float,
    unit_rows: nn.Parameter | None = None,
) -> None:
    """Change parameters by their gradients, which may be used up.

    Parameters
    ----------
    parameters
        Matrices and vectors, all those of the optimiser.
    scaler
        Scaled the loss that the gradients are of.
    max_grad_norm
        Gradients of a larger norm, over all parameters, are scaled down to it.
    unit_rows
        The matrix whose rows keep unit norm: the part of their gradient along them is left out.
    """
    matrices = [as_stored(parameter, parameter) for parameter in parameters if parameter.ndim == 2]
    implementation("adamw_step", *matrices)(parameters, optimizer, scaler, max_grad_norm, unit_rows)


def project_gradient_(weights: nn.Parameter) -> None:
    """Subtract from the gradient of every row of unit norm the part along the row, which changes only its norm."""
    along = (weights.grad * weights).sum(1, keepdim=True)
    weights.grad.addcmul_(along, weights, value=-1)


def normalize_rows_(weights: Tensor) -> Tensor:
    """Set every row to unit norm, and return the norms before, ``(n_rows,)``; a row of zeros stays zero."""
    norm = weights.norm(dim=1).clamp(min=torch.finfo(weights.dtype).tiny)
    weights.div_(norm[:, None])
    return norm


def as_stored(tensor: Tensor, parameter: Tensor) -> Tensor:
    """Return the tensor, transposed where the parameter lies transposed in memory (an encoder, feature by feature)."""
    return tensor if parameter.is_contiguous() else tensor.t()
