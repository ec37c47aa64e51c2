"""Activations and codes as users give them: any leading shape, tensors or arrays, checked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from biosae.errors import DataError

from .batch import WHOLE_BATCH, Batch
from .codes import Codes

if TYPE_CHECKING:
    from .base import SAE


def as_rows(x: Tensor | np.ndarray, sae: SAE) -> tuple[Tensor, tuple[int, ...]]:
    """Return activations as ``(n_tokens, d_in)`` where they are ``(..., d_in)``, and their shape but for the width."""
    if isinstance(x, np.ndarray):
        x = torch.as_tensor(x, dtype=sae.input_mean.dtype, device=sae.W_dec.device)
    leading = tuple(getattr(x, "shape", ())[:-1])
    has_width = isinstance(x, Tensor) and x.ndim > 0 and x.shape[-1] == sae.d_in
    return (x.reshape(-1, sae.d_in) if has_width and x.ndim != 2 else x), leading


def as_codes(codes: Codes | Tensor | np.ndarray | sparse.spmatrix, sae: SAE) -> Codes:
    """Return codes that may be dense ``(..., d_sae)``, or a sparse matrix of scipy or torch, as `Codes`."""
    if isinstance(codes, Codes):
        return codes
    if sparse.issparse(codes):
        codes = codes.toarray()
    if isinstance(codes, np.ndarray):
        codes = torch.as_tensor(codes, dtype=sae.input_mean.dtype, device=sae.W_dec.device)
    if not isinstance(codes, Tensor) or codes.ndim == 0 or codes.shape[-1] != sae.d_sae:
        found = tuple(getattr(codes, "shape", ())) or type(codes).__name__
        raise DataError(f"decode takes the Codes of encode, or dense ones (..., d_sae={sae.d_sae}), got {found}")
    codes = codes if codes.layout == torch.strided else codes.to_dense()
    return Codes(codes.reshape(-1, sae.d_sae), leading=None if codes.ndim == 2 else tuple(codes.shape[:-1]))


def gradients_of(*inputs: Tensor | None) -> torch.set_grad_enabled:
    """Return a context in which gradients are kept for inputs that require them, and for nothing else."""
    required = any(each is not None and getattr(each, "requires_grad", False) for each in inputs)
    return torch.set_grad_enabled(torch.is_grad_enabled() and required)


def check_kind(x: Tensor, sae: SAE) -> None:
    """Check type, device and dtype, so that users see our message instead of torch's."""
    if not isinstance(x, Tensor):
        raise DataError(f"activations must be a torch tensor or an array, got {type(x).__name__}: torch.as_tensor(x)")
    if x.device != sae.W_dec.device:
        message = f"activations are on {x.device}, the SAE on {sae.W_dec.device}"
        raise DataError(f"{message}: x.to(sae.W_dec.device), or load the SAE with device=")
    own = sae.input_mean.dtype
    if torch.promote_types(x.dtype, own) != own:
        raise DataError(f"activations are {x.dtype}, the SAE {own}: x.to({own}), or sae.to({x.dtype})")


def check_shape(x: Tensor, d_in: int, batch: Batch = WHOLE_BATCH) -> int:
    """Check the shape of rows of a batch, and return the number of tokens in the batch."""
    n_tokens = batch.count(len(x)) if x.ndim == 2 and x.shape[1] == d_in else 0
    if n_tokens == 0:
        message = f"activations must be (n_tokens, d_in={d_in}) with at least one token"
        raise DataError(f"{message}, got shape {tuple(x.shape)}; drop padding before the SAE")
    return n_tokens


def token_unit(x: Tensor, sae: SAE) -> Tensor | None:
    """Return ``(n, 1)`` one normalised unit as a share of each token's norm, where losses count in that unit."""
    if sae.architecture.loss_unit == "dataset":
        return None
    norm = x.norm(dim=1, keepdim=True)
    if not (norm > 0).all():
        raise DataError("an activation is zero and the loss is relative to its norm; leave it out of the data")
    unit = sae.input_scale * own_scale(x)[1] if sae.architecture.layer_norm else sae.input_scale
    return unit / norm


def own_scale(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of every row, ``(n, 1)``; a constant row has a spread of 1."""
    spread, mean = torch.std_mean(x, dim=1, keepdim=True, correction=0)
    return mean, torch.where(spread > 0, spread, torch.ones_like(spread))
