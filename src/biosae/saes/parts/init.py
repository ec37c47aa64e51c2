"""How variants start that decode every positive pre-activation, which at first is half of the dictionary."""

from __future__ import annotations

import torch

from biosae.saes.base import SAE

MOST_FEATURES_A_DIMENSION = 8
"""Larger dictionaries get a smaller encoder, so that the first reconstruction is no larger than at this size.

Else it outgrows the activations in proportion to the dictionary, and a short run is spent on shrinking it: with 64
features a dimension, after 117 steps, held-out FVU 4.0 instead of 0.21 (Standard), 5.3 instead of 0.02 (Gated).
"""


@torch.no_grad()
def bound_first_reconstruction(sae: SAE) -> None:
    """Shrinks the encoder of a fresh SAE with a large dictionary; one that is tied to the decoder stays."""
    if not sae.architecture.tied_decoder:
        sae.W_enc.mul_(min(1.0, MOST_FEATURES_A_DIMENSION * sae.d_in / sae.d_sae))
