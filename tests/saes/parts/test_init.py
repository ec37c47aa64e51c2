from __future__ import annotations

import pytest
import torch

from biosae.saes.architecture import Architecture
from biosae.saes.build import build

VARIANTS = {
    "standard": "l1_coefficient",
    "gated": "l1_coefficient",
    "panneal": "sparsity_coefficient",
    "gatedanneal": "sparsity_coefficient",
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_first_reconstruction_of_a_large_dictionary_is_no_larger_than_that_of_eight_a_dimension(variant):
    x = torch.randn(200, 32, generator=torch.Generator().manual_seed(0))
    errors = {}
    for multiplier in (8, 64):
        sae = build(variant, 32, multiplier * 32, {VARIANTS[variant]: 0.1})
        sae.fit_normaliser(x)
        errors[multiplier] = sae.reconstruction_loss(sae.training_forward(x)).item()
    # Random features: their sums differ by a few percent; without the bound it is 64 times as large.
    assert errors[64] < 1.3 * errors[8]


def test_a_tied_encoder_keeps_the_decoders_norm():
    sae = build("standard", 8, 512, {"l1_coefficient": 0.1}, 0, Architecture(tied_decoder=True))
    torch.testing.assert_close(sae.W_dec.norm(dim=1), torch.ones(512))
