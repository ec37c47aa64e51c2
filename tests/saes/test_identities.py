"""Variants that must agree where one is a special case of another."""

from __future__ import annotations

import pytest
import torch

from biosae.saes.base import SAE
from biosae.saes.forward import Progress
from biosae.saes.variants.batchtopk import BatchTopK
from biosae.saes.variants.gated import Gated
from biosae.saes.variants.gatedanneal import GatedAnneal
from biosae.saes.variants.gumbeltopk import GumbelTopK
from biosae.saes.variants.jumprelu import JumpReLU
from biosae.saes.variants.matryoshka import Matryoshka
from biosae.saes.variants.panneal import PAnneal
from biosae.saes.variants.standard import Standard
from biosae.saes.variants.topk import TopK

SIZES = (16, 48)


def outcome(sae: SAE, x: torch.Tensor) -> tuple[dict[str, float], dict[str, torch.Tensor], torch.Tensor]:
    """Losses, gradients and training codes in float64 with every third feature dead, half way through a run."""
    sae.double().fit_normaliser(x)
    with torch.no_grad():
        sae.b_enc.copy_(torch.linspace(-0.1, 0.1, SIZES[1]))
        sae.b_dec.copy_(torch.linspace(-0.05, 0.05, SIZES[0]))
    dead = torch.arange(SIZES[1]) % 3 == 0
    forward = sae.training_forward(x.double())
    losses = sae.losses(forward, Progress(50, 100, dead))
    sum(losses.values()).backward()
    gradients = {name: parameter.grad for name, parameter in sae.named_parameters()}
    return {name: loss.item() for name, loss in losses.items()}, gradients, forward.codes.dense().detach()


def assert_same(one: SAE, other: SAE, x: torch.Tensor, tolerance: float = 1e-12) -> None:
    losses, gradients, codes = zip(outcome(one, x), outcome(other, x), strict=True)
    assert list(losses[0].values()) == pytest.approx(list(losses[1].values()), abs=tolerance)
    assert set(gradients[0]) == set(gradients[1])
    for name in gradients[0]:
        torch.testing.assert_close(gradients[0][name], gradients[1][name], rtol=0, atol=tolerance, msg=name)
    torch.testing.assert_close(codes[0], codes[1], rtol=0, atol=tolerance)


def test_gumbel_without_noise_is_topk(planted):
    assert_same(GumbelTopK(*SIZES, k=5, tau_start=0.0, tau_end=0.0), TopK(*SIZES, k=5), planted)


def test_gumbel_is_topk_at_inference_whatever_the_noise(planted):
    """Noise that stays on at evaluation makes codes random."""
    noisy, plain = GumbelTopK(*SIZES, k=5, tau_start=0.5), TopK(*SIZES, k=5)
    for sae in (noisy, plain):
        sae.fit_normaliser(planted)
    assert torch.equal(noisy.encode(planted).dense(), plain.encode(planted).dense())
    assert not torch.equal(noisy.training_forward(planted).codes.dense(), plain.encode(planted).dense())


def test_gumbel_after_the_noise_has_ended_is_topk(planted):
    gumbel = GumbelTopK(*SIZES, k=5, tau_start=0.5, anneal_fraction=0.7)
    gumbel.fit_normaliser(planted)
    forward = gumbel.training_forward(planted)
    gumbel.after_step(forward, Progress(70, 100, torch.zeros(48, dtype=torch.bool)))
    assert_same(gumbel, TopK(*SIZES, k=5), planted)


def test_batch_topk_of_one_row_is_topk(planted):
    both = [BatchTopK(*SIZES, k=5), TopK(*SIZES, k=5)]
    for sae in both:
        sae.fit_normaliser(planted)
    forwards = [sae.training_forward(planted[:1]) for sae in both]
    assert torch.equal(*[forward.codes.dense() for forward in forwards])


def test_matryoshka_with_one_group_is_batch_topk(planted):
    assert_same(Matryoshka(*SIZES, k=5, group_fractions=[1.0]), BatchTopK(*SIZES, k=5), planted)


def test_p_anneal_with_power_one_is_standard(planted):
    assert_same(PAnneal(*SIZES, sparsity_coefficient=0.3, p_end=1.0), Standard(*SIZES, l1_coefficient=0.3), planted)


def test_gated_anneal_with_power_one_is_gated(planted):
    assert_same(GatedAnneal(*SIZES, sparsity_coefficient=0.3, p_end=1.0), Gated(*SIZES, l1_coefficient=0.3), planted)


def test_annealing_to_power_one_leaves_power_and_weight(planted):
    sae = PAnneal(*SIZES, sparsity_coefficient=0.3, p_end=1.0)
    sae.fit_normaliser(planted)
    for step in range(100):
        sae.after_step(sae.training_forward(planted), Progress(step, 100, torch.zeros(48, dtype=torch.bool)))
    assert sae.penalty.p == 1 and sae.penalty.weight == 1


def test_jump_relu_with_zero_threshold_is_relu(planted):
    jump, relu = JumpReLU(*SIZES, target_l0=4, bandwidth=0.1), Standard(*SIZES, l1_coefficient=0.0)
    torch.nn.init.zeros_(jump.threshold)
    for sae in (jump, relu):
        sae.double().fit_normaliser(planted)
    x = planted.double()
    assert torch.equal(jump.encode(x).dense(), relu.encode(x).dense())
    losses = []
    for sae in (jump, relu):
        forward = sae.training_forward(x)
        loss = sae.reconstruction_loss(forward)
        loss.backward()
        losses.append(loss.item())
    assert losses[0] == losses[1]
    for name in ("W_enc", "b_enc", "W_dec", "b_dec"):
        torch.testing.assert_close(getattr(jump, name).grad, getattr(relu, name).grad, rtol=0, atol=1e-12)


def test_gate_with_equal_paths_is_relu(planted):
    """With r_mag = 0 and b_mag = b_enc the magnitude is the gate's own pre-activation."""
    gated, relu = Gated(*SIZES, l1_coefficient=0.0), Standard(*SIZES, l1_coefficient=0.0)
    with torch.no_grad():
        for sae in (gated, relu):
            sae.b_enc.copy_(torch.linspace(-0.1, 0.1, 48))
            sae.fit_normaliser(planted)
        gated.gate.b_mag.copy_(gated.b_enc)
    # (pre - b) + b rounds in float32.
    torch.testing.assert_close(gated.encode(planted).dense(), relu.encode(planted).dense(), rtol=0, atol=1e-6)
