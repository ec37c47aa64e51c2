"""From gradients to new weights: projected, clipped, AdamW, decoder rows back at unit norm."""

from __future__ import annotations

import torch
from torch.optim import Optimizer

from biosae.ops.adam import adamw_step
from biosae.saes.base import SAE


def update(sae: SAE, optimizer: Optimizer, scaler: torch.amp.GradScaler, max_grad_norm: float) -> None:
    """Change the weights by their gradients, which are those of the whole batch and may be used up.

    Parameters
    ----------
    optimizer
        torch's AdamW over all parameters.
    scaler
        Scaled the loss.
    max_grad_norm
        Larger gradients are scaled down to this norm.
    """
    unit_rows = sae.W_dec if sae.has_unit_norm_decoder else None
    adamw_step(list(sae.parameters()), optimizer, scaler, max_grad_norm, unit_rows)
    if unit_rows is None:
        sae.normalize_decoder()
