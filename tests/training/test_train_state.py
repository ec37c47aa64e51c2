from __future__ import annotations

import pytest
import torch

from biosae.saes.variants.gated import Gated
from biosae.saes.variants.gatedanneal import GatedAnneal
from biosae.saes.variants.jumprelu import JumpReLU
from biosae.saes.variants.panneal import PAnneal
from biosae.saes.variants.standard import Standard
from biosae.saes.variants.topk import TopK
from biosae.training.settings import PRECISIONS
from biosae.training.train_state import TrainState


def make(settings, source, **changes) -> TrainState:
    sae = TopK(16, 48, k=3)
    sae.fit_normaliser(source.values)
    return TrainState(sae, settings(**changes), total_steps=100, total_tokens=10_000)


def test_dead_features_are_counted_in_tokens(settings, source):
    """A feature that cannot fire is dead once the window of 1,000 tokens has passed, whatever the batch size."""
    for batch_size in (100, 500):
        learner = make(settings, source, dead_window_fraction=0.1)
        with torch.no_grad():
            learner.sae.b_enc[:5] = -100
        when = None
        for x in source.values.split(batch_size):
            learner.step(x)
            if when is None and learner.progress().dead[:5].all():
                when = learner.n_tokens
        assert when == 1000 + batch_size
        assert not learner.progress().dead[5:].all()


def test_step_matches_plain_adam_written_out(settings, source):
    """One step against torch.optim.Adam on a clone, with projection, clipping and renormalisation by hand."""
    learner = make(settings, source, warmup_fraction=0.0, max_grad_norm=0.01)
    twin = make(settings, source).sae
    x = source.values[:200]
    slow = [twin.b_enc, twin.b_dec]
    optimizer = torch.optim.Adam([{"params": [twin.W_enc, twin.W_dec]}, {"params": slow, "lr": 3e-3 / 4}], lr=3e-3)
    forward = twin.training_forward(x)
    ((twin.normalise(x) - forward.reconstruction).square().sum() / 200).backward()
    row = twin.W_dec.detach()
    twin.W_dec.grad -= (twin.W_dec.grad * row).sum(1, keepdim=True) * row
    total = sum(p.grad.square().sum() for p in twin.parameters()).sqrt()
    for parameter in twin.parameters():
        parameter.grad *= 0.01 / total
    optimizer.step()
    with torch.no_grad():
        twin.W_dec /= twin.W_dec.norm(dim=1, keepdim=True)
    learner.step(x)
    for mine, theirs in zip(learner.sae.parameters(), twin.parameters(), strict=True):
        # Adam's first step is lr * sign(gradient), up to rounding where the gradient is near its epsilon.
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("sae", "slow"),
    [
        (TopK(16, 48, k=3), {"b_enc", "b_dec"}),
        (JumpReLU(16, 48, target_l0=3), {"b_enc", "b_dec", "threshold"}),
        (Gated(16, 48, l1_coefficient=0.1), {"b_enc", "b_dec", "gate.r_mag", "gate.b_mag"}),
    ],
    ids=["topk", "jumprelu", "gated"],
)
def test_vectors_learn_at_a_share_of_the_rate(sae, slow, settings, source):
    """1 / sqrt(d_in) of it: else biases, scales and thresholds outrun the matrices, and features die."""
    sae.fit_normaliser(source.values)
    learner = TrainState(sae, settings(lr=1e-2, warmup_fraction=0.0), total_steps=100, total_tokens=10_000)
    before = {name: parameter.detach().clone() for name, parameter in sae.named_parameters()}
    learner.step(source.values[:500])
    for name, parameter in sae.named_parameters():
        if name == "W_dec":
            continue  # renormalised after the step
        moved = (parameter - before[name]).abs().max().item()
        # Adam's first step is the rate itself wherever there is a gradient.
        assert moved == pytest.approx(1e-2 / 4 if name in slow else 1e-2, rel=1e-3), name


@pytest.mark.parametrize(
    ("sae", "adam_beta1"),
    [
        (TopK(16, 48, k=3), 0.9),
        (Standard(16, 48, l1_coefficient=0.1), 0.7),
        (PAnneal(16, 48, sparsity_coefficient=0.1), 0.7),
        (Gated(16, 48, l1_coefficient=0.1), 0.7),
        (GatedAnneal(16, 48, sparsity_coefficient=0.1), 0.7),
    ],
    ids=["topk", "standard", "panneal", "gated", "gatedanneal"],
)
def test_adam_keeps_the_variants_share_of_earlier_gradients(sae, adam_beta1, settings, source):
    """A step whose gradients are zero leaves that share of the mean gradient of the step before."""
    sae.fit_normaliser(source.values)
    learner = TrainState(sae, settings(), total_steps=100, total_tokens=10_000)
    learner.step(source.values[:500])
    mean = {p: learner.optimizer.state[p]["exp_avg"].clone() for p in sae.parameters()}
    for parameter in sae.parameters():
        parameter.grad = torch.zeros_like(parameter)
    learner.optimizer.step()
    for name, parameter in sae.named_parameters():
        after = learner.optimizer.state[parameter]["exp_avg"]
        torch.testing.assert_close(after, adam_beta1 * mean[parameter], rtol=1e-5, atol=0, msg=name)


def test_metrics_are_means_over_the_interval(settings, source):
    learner = make(settings, source)
    parts = []
    for x in source.values[:450].split(200):
        forward = learner.sae.training_forward(x)
        losses = learner.sae.losses(forward, learner.progress())
        parts.append((len(x), losses["reconstruction"].item(), forward))
        learner.step(x)
    metrics = learner.metrics()
    expected = sum(n * loss for n, loss, _ in parts) / 450
    error = sum(forward.residual.square().sum().item() for *_, forward in parts)
    variance = sum(forward.x.square().sum().item() for *_, forward in parts)
    assert abs(metrics["reconstruction"] - expected) < 1e-6
    assert abs(metrics["fvu"] - error / variance) < 1e-6
    assert metrics["l0"] <= 3
    learner.step(source.values[:200])
    assert learner.metrics()["loss"] != metrics["loss"]


@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_clipping_is_as_strong_whatever_the_units_of_the_host(settings, source, scale):
    """A bound on gradients of a loss in host units would act or not depending on the size of activations."""
    steps = []
    for values in (source.values, scale * source.values):
        sae = TopK(16, 48, k=3)
        sae.fit_normaliser(values)
        learner = TrainState(sae, settings(max_grad_norm=0.01, warmup_fraction=0.0), 100, 10_000)
        before = sae.W_enc.detach().clone()
        for _ in range(3):
            learner.step(values[:500])
        steps.append(sae.W_enc.detach() - before)
    # float32; Adam divides by gradients that rounding moves where they are small.
    torch.testing.assert_close(steps[0], steps[1], rtol=0, atol=2e-4)


def test_only_fp16_scales_its_loss(settings, source):
    """bf16 has the range of float32 and needs no scaling."""
    scaled = {precision: make(settings, source, precision=precision).scaler.is_enabled() for precision in PRECISIONS}
    assert scaled == {"fp32": False, "bf16": False, "fp16": True}


def test_counters_are_where_the_weights_are(settings):
    """Counters allocated on the device of an argument can be on another one than the weights."""
    sae = TopK(16, 48, k=3).to("meta")
    learner = TrainState(sae, settings(), total_steps=100, total_tokens=10_000)
    assert learner.tokens_since_fired.device == learner.progress().dead.device == sae.W_dec.device


def test_l0_of_training_is_measured(settings, source):
    """k is an upper bound; where few pre-activations are positive fewer features fire."""
    learner = make(settings, source)
    with torch.no_grad():
        learner.sae.b_enc[3:] = -100
    fired = (learner.sae.training_forward(source.values[:200]).codes.dense() > 0).sum(1).double().mean().item()
    learner.step(source.values[:200])
    assert learner.metrics()["l0"] == pytest.approx(fired)
    assert fired < 2.5
