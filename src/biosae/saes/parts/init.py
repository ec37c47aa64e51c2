"""Encoder initialisation for ReLU-type variants, where half of the dictionary is active at first."""

from __future__ import annotations

import torch

from biosae.saes.base import SAE

MAX_EXPANSION = 8
"""Features per dimension beyond which the encoder is scaled down, so that the first reconstruction grows no further.

Otherwise it outgrows the activations in proportion to the dictionary, and a short run is spent on shrinking it: with
64 features per dimension, after 117 steps, held-out FVU 4.0 instead of 0.21 (Standard), 5.3 instead of 0.02 (Gated).
"""


@torch.no_grad()
def bound_first_reconstruction(sae: SAE) -> None:
    """Scale down the initial encoder of a large dictionary, unless it is tied to the decoder."""
    if not sae.architecture.tied_decoder:
        sae.W_enc.mul_(min(1.0, MAX_EXPANSION * sae.d_in / sae.d_sae))
