"""The losses of the gated variants, written out densely, and what each of them may teach."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from biosae.saes.forward import Progress
from biosae.saes.variants.gated import Gated
from biosae.saes.variants.gatedanneal import GatedAnneal


@pytest.fixture
def sae(planted) -> Gated:
    sae = Gated(16, 48, l1_coefficient=0.3)
    sae.double().fit_normaliser(planted)
    with torch.no_grad():
        generator = torch.Generator().manual_seed(0)
        for vector in (sae.b_enc, sae.b_dec, sae.gate.r_mag, sae.gate.b_mag):
            vector.normal_(std=0.1, generator=generator)
    return sae


def terms(sae: Gated | GatedAnneal, planted: Tensor) -> dict[str, Tensor]:
    return sae.losses(sae.training_forward(planted.double()), Progress(50, 100, torch.zeros(48, dtype=torch.bool)))


def test_losses_are_those_of_the_paper(sae, planted):
    """Rajamanoharan et al. (2024), equations 6 to 8."""
    x = sae.normalise(planted.double())
    through = (x - sae.b_dec) @ sae.W_enc
    gate = through + sae.b_enc
    codes = (gate > 0) * torch.relu(sae.gate.r_mag.exp() * through + sae.gate.b_mag)
    losses = terms(sae, planted)
    expected = {
        "reconstruction": (x - codes @ sae.W_dec - sae.b_dec).square().sum(1).mean(),
        "l1": 0.3 * torch.relu(gate).sum(1).mean(),
        "gate_reconstruction": (x - torch.relu(gate) @ sae.W_dec - sae.b_dec).square().sum(1).mean(),
    }
    torch.testing.assert_close(losses, expected)


def test_the_annealed_penalty_is_that_of_the_gate_with_a_bounded_slope(planted):
    """Value and gradient of Karvonen et al. (2024), section 4, for the rectified gate plus 0.01."""
    sae = GatedAnneal(16, 48, sparsity_coefficient=0.3)
    sae.double().fit_normaliser(planted)
    sae.penalty.p.fill_(0.4)
    sae.penalty.weight.fill_(0.5)
    gate = torch.relu((sae.normalise(planted.double()) - sae.b_dec) @ sae.W_enc + sae.b_enc)
    expected = 0.3 * 0.5 * ((gate + 0.01) ** 0.4 - 0.01**0.4).sum(1).mean()
    power = terms(sae, planted)["power"]
    torch.testing.assert_close(power, expected)
    gradients = [torch.autograd.grad(loss, [sae.W_enc, sae.b_enc, sae.b_dec]) for loss in (power, expected)]
    torch.testing.assert_close(*gradients)


def test_the_gates_reconstruction_teaches_no_decoder(sae, planted):
    """An auxiliary loss that moves the decoder makes it fit the shrunken gate."""
    loss = terms(sae, planted)["gate_reconstruction"]
    by_decoder = torch.autograd.grad(loss, [sae.W_dec, sae.gate.r_mag, sae.gate.b_mag], allow_unused=True)
    assert by_decoder == (None, None, None)
    (by_bias,) = torch.autograd.grad(terms(sae, planted)["gate_reconstruction"], sae.b_dec)
    (by_gate,) = torch.autograd.grad(terms(sae, planted)["gate_reconstruction"], sae.b_enc)
    torch.testing.assert_close(by_bias, -(by_gate @ sae.W_enc.t()))  # through the encoder's input alone


def test_the_penalty_does_not_shrink_magnitudes(sae, planted):
    """A penalty that reaches the decoder or the magnitudes is lowered by their norms, without fewer features."""
    loss = terms(sae, planted)["l1"]
    assert torch.autograd.grad(loss, [sae.gate.r_mag, sae.gate.b_mag, sae.W_dec], allow_unused=True) == (None,) * 3
