from __future__ import annotations

import pytest
import torch

from biosae.saes import preactivations
from biosae.saes.codes import Codes
from biosae.saes.forward import ForwardOutput
from biosae.saes.parts.auxk import auxk_loss, strongest
from biosae.saes.preactivations import PreActivations
from biosae.saes.variants.topk import TopK


def random_forward(
    d_in: int = 6, d_sae: int = 12, bias: float = 0.0
) -> tuple[ForwardOutput, torch.Tensor, dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(1)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    leaves = {"W_enc": draw(d_in, d_sae), "b_enc": draw(d_sae), "W_dec": draw(d_sae, d_in), "b_dec": draw(d_in)}
    leaves["b_enc"] += bias
    for leaf in leaves.values():
        leaf.requires_grad_()
    x = draw(9, d_in)
    pre = PreActivations(x, leaves["b_dec"], leaves["W_enc"], leaves["b_enc"])
    codes = Codes(torch.relu(pre.dense))
    forward = ForwardOutput(x, pre, codes, lambda codes: codes.decode(leaves["W_dec"]) + leaves["b_dec"], len(x))
    return forward, leaves["W_dec"], leaves


def by_hand(forward: ForwardOutput, dead: torch.Tensor, W_dec: torch.Tensor, k: int) -> float:
    """The definition of Gao et al. (2024), appendix A.2, a token at a time."""
    residual = (forward.x - forward.reconstruction).detach()
    total, spread = 0.0, 0.0
    for row in range(len(residual)):
        activity = torch.relu(forward.pre.dense[row]) * dead
        best = activity.argsort(descending=True)[:k]
        estimate = sum(activity[j] * W_dec[j] for j in best)
        total += ((residual[row] - estimate).square().sum()).item()
        spread += float((residual[row] - residual.mean(0)).square().sum())
    return total / spread


@pytest.mark.parametrize("features", [[0, 2, 3, 7, 9], [2, 7]])
def test_value_follows_the_definition_without_decoder_bias(features):
    """The decoder bias added to a residual counts twice. At most d_in / 2 = 3 dead features take part, or all."""
    forward, W_dec, _ = random_forward()
    dead = torch.zeros(12, dtype=torch.bool)
    dead[features] = True
    k = min(3, len(features))
    # float64 sums of 54 numbers.
    assert abs(auxk_loss(forward, dead, W_dec).item() - by_hand(forward, dead, W_dec, k)) < 1e-12


def test_negative_pre_activations_take_no_part():
    """The largest pre-activations of dead features may be negative; without a ReLU they become negative codes."""
    forward, W_dec, leaves = random_forward(bias=-100.0)
    dead = torch.ones(12, dtype=torch.bool)
    loss = auxk_loss(forward, dead, W_dec)
    torch.testing.assert_close(loss, auxk_loss(forward, dead, torch.zeros_like(W_dec)))
    assert all((grad == 0).all() for grad in torch.autograd.grad(loss, [leaves["W_enc"], leaves["W_dec"]]))


@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_the_loss_does_not_depend_on_the_hosts_units(scale, planted):
    """An estimate in normalised units and a residual in units of the activations would not be comparable."""
    losses, dead = [], torch.arange(48) % 3 == 0
    for x in (planted, scale * planted):
        sae = TopK(16, 48, k=3)
        sae.double().fit_normaliser(x)
        losses.append(auxk_loss(sae.training_forward(x.double()), dead, sae.W_dec).item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)  # planted values are float32


def test_zero_codes_predict_nothing():
    forward, W_dec, _ = random_forward()
    dead = torch.ones(12, dtype=torch.bool)
    loss = auxk_loss(forward, dead, torch.zeros_like(W_dec))
    residual = forward.residual.detach()
    expected = residual.square().sum() / (residual - residual.mean(0)).square().sum()
    torch.testing.assert_close(loss, expected)


def test_gradient_reaches_the_dead_features_encoder_and_decoder_only():
    """Pre-activations whose gradient is dropped teach the encoder nothing."""
    forward, W_dec, leaves = random_forward()
    dead = torch.zeros(12, dtype=torch.bool)
    dead[[0, 2, 3]] = True  # as many as d_in / 2, so that each takes part
    auxk_loss(forward, dead, W_dec).backward()
    for name, axis in (("W_enc", 1), ("b_enc", 0), ("W_dec", 0)):
        norms = leaves[name].grad.movedim(axis, 0).reshape(12, -1).norm(dim=1)
        assert torch.equal(norms > 0, dead), name


def test_target_is_detached():
    """A residual that carries a gradient moves the living features, too."""
    forward, W_dec, leaves = random_forward()
    dead = torch.zeros(12, dtype=torch.bool)
    dead[:4] = True
    auxk_loss(forward, dead, W_dec).backward()
    through_encoder = -(leaves["b_enc"].grad @ leaves["W_enc"].detach().t())
    torch.testing.assert_close(leaves["b_dec"].grad, through_encoder)


@pytest.mark.parametrize("k", [4, 40])
def test_rare_dead_codes_have_the_same_loss_and_gradients_as_dense_ones(k, monkeypatch):
    """Also where a row has more positive entries than may take part."""
    forward, W_dec, leaves = random_forward(d_in=2 * k, d_sae=400, bias=-3.0 * (2 * k) ** 0.5)
    dead = torch.arange(400) % 2 == 0
    most = strongest(forward.pre.of(dead.nonzero()[:, 0]), 400).l0().max()
    assert (most > k) == (k == 4)

    def loss_and_gradients() -> list[torch.Tensor]:
        loss = auxk_loss(forward, dead, W_dec)
        return [loss, *torch.autograd.grad(loss, list(leaves.values()))]

    sparse = loss_and_gradients()
    monkeypatch.setattr(preactivations, "WORTHWHILE_SHARE", -1.0)
    torch.testing.assert_close(loss_and_gradients(), sparse)


def test_no_dead_feature_and_no_residual_give_zero():
    forward, W_dec, _ = random_forward()
    none = torch.zeros(12, dtype=torch.bool)
    assert auxk_loss(forward, none, W_dec).item() == 0
    perfect = ForwardOutput(forward.x, forward.pre, forward.codes, lambda _: forward.x, len(forward.x))
    assert auxk_loss(perfect, ~none, W_dec).item() == 0
