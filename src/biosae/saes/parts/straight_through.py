"""Step functions with straight-through (surrogate) gradients."""

from __future__ import annotations

import torch
from torch import Tensor


def jump_relu(pre: Tensor, threshold: Tensor, bandwidth: float) -> Tensor:
    """Return ``pre`` where it is above ``threshold``, else 0.

    The threshold's gradient is ``-threshold / bandwidth`` inside a window of ``bandwidth`` around it
    (Rajamanoharan et al. 2024, arXiv 2407.14435, equation 11).
    """
    return pre * (pre > threshold) + threshold.detach() * _window_step(pre, threshold, bandwidth)


def step(pre: Tensor, threshold: Tensor, bandwidth: float) -> Tensor:
    """Return 1 where ``pre`` is above ``threshold``, else 0.

    The threshold's gradient is ``-1 / bandwidth`` inside a window of ``bandwidth`` around it (equation 12).
    """
    return (pre > threshold) + _window_step(pre, threshold, bandwidth)


def soft_mask(scores: Tensor, boundary: Tensor, chosen: Tensor, temperature: float) -> Tensor:
    """Return 1 at the chosen scores, else 0, with the gradient of ``sigmoid((scores - boundary) / temperature)``."""
    soft = torch.sigmoid((scores - boundary) / temperature)
    return chosen + (soft - soft.detach())


def _window_step(pre: Tensor, threshold: Tensor, bandwidth: float) -> Tensor:
    """Return zero, with the gradient ``-1 / bandwidth`` to the threshold inside the window and none to ``pre``."""
    window = ((pre - threshold).abs() < bandwidth / 2) / bandwidth
    return window.detach() * (threshold.detach() - threshold)
