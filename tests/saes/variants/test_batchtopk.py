from __future__ import annotations

from functools import partial

import pytest
import torch

from biosae.saes.forward import Progress
from biosae.saes.variants.batchtopk import BatchTopK
from biosae.saes.variants.jumprelu import JumpReLU
from biosae.saes.variants.matryoshka import Matryoshka
from biosae.saes.variants.standard import Standard


def progress(step: int, total_steps: int = 100) -> Progress:
    return Progress(step, total_steps, torch.zeros(48, dtype=torch.bool))


@pytest.mark.parametrize("variant", [BatchTopK, partial(Matryoshka, group_fractions=[0.25, 0.75])])
def test_one_step_is_enough_for_a_sparse_inference_path(planted, variant):
    """A threshold that starts after a warm-up never starts in a run shorter than that, and codes are dense."""
    sae = variant(16, 48, k=3)
    sae.fit_normaliser(planted)
    sae.after_step(sae.training_forward(planted), progress(0, total_steps=1))
    assert sae.encode(planted).l0().float().mean().item() == pytest.approx(3, abs=0.01)


@pytest.mark.parametrize("variant", [BatchTopK, partial(Matryoshka, group_fractions=[0.25, 0.75])])
def test_the_budget_is_a_number_for_each_token(planted, variant):
    """A fixed budget per batch is too small for a large batch and too large for the last one of an epoch."""
    sae = variant(16, 48, k=3)
    sae.fit_normaliser(planted)
    for n in (1, 7, 512):
        assert int(sae.training_forward(planted[:n]).codes.l0().sum()) == 3 * n


def test_inference_threshold_is_the_mean_smallest_kept_code(planted):
    sae = BatchTopK(16, 48, k=3, threshold_window_fraction=1.0)
    sae.fit_normaliser(planted)
    smallest = []
    for step, x in enumerate(planted.split(64)):
        forward = sae.training_forward(x)
        smallest.append(forward.codes.values.min().item())
        sae.after_step(forward, progress(step, total_steps=10**6))
    # Over a window far longer than the stream the debiased mean is the plain one.
    assert sae.threshold.value.item() == pytest.approx(sum(smallest) / len(smallest), rel=1e-5)


def test_k_falls_to_its_value_and_the_threshold_forgets_the_way_there(planted):
    """A threshold averaged over the many-feature phase stays too low."""
    sae = BatchTopK(16, 48, k=3, k_anneal_fraction=0.5)
    sae.fit_normaliser(planted)
    seen = []
    for step in range(100):
        forward = sae.training_forward(planted)
        seen.append(round(forward.codes.l0().float().mean().item()))
        sae.after_step(forward, progress(step))
    assert (seen[0], seen[25], seen[50]) == (16, 10, 3)
    smallest = sae.training_forward(planted).codes.values.min()
    # The batch and the weights never change: the mean is that of its last k alone, but for one step with k = 4.
    torch.testing.assert_close(sae.threshold.value.float(), smallest, rtol=0.01, atol=0)
    assert seen == sorted(seen, reverse=True)


@pytest.mark.parametrize("fraction", [0.95, 1.0])
@pytest.mark.parametrize("variant", [BatchTopK, partial(Matryoshka, group_fractions=[0.25, 0.75])])
def test_a_fall_of_k_that_lasts_to_the_end_still_leaves_a_threshold(planted, variant, fraction):
    """Where k reaches its value at the very last step, no batch is left that could set the threshold."""
    sae = variant(16, 48, k=3, k_anneal_fraction=fraction)
    sae.fit_normaliser(planted)
    for step in range(10):
        sae.after_step(sae.training_forward(planted), progress(step, total_steps=10))
    assert sae.annealed_k.value == 3
    assert 3 <= sae.encode(planted).l0().float().mean() < 5


def test_annealed_k_never_exceeds_the_dictionary():
    """An annealed k that starts at d_in would ask for more features than there are."""
    assert BatchTopK(64, 8, k=2, k_anneal_fraction=0.5).annealed_k.value == 8


def test_jump_relu_reaches_its_target_and_thresholds_stay_positive(planted):
    """Thresholds learned as raw numbers can go negative, and those learned as logarithms can stall."""
    sae = JumpReLU(16, 48, target_l0=3, bandwidth=0.5)
    sae.fit_normaliser(planted)
    optimizer = torch.optim.Adam(sae.parameters(), lr=1e-2)
    for step in range(200):
        forward = sae.training_forward(planted)
        optimizer.zero_grad()
        sum(sae.losses(forward, progress(step, 200)).values()).backward()
        optimizer.step()
        sae.normalize_decoder()
        with torch.no_grad():
            sae.after_step(forward, progress(step, 200))
        assert (sae.threshold >= 0).all()
    assert sae.encode(planted).l0().float().mean().item() == pytest.approx(3, rel=0.15)


def test_jump_relu_trains_and_infers_the_same_codes(planted):
    """With a ReLU at inference alone, codes differ from training where a step took thresholds below zero."""
    sae = JumpReLU(16, 48, target_l0=3)
    sae.fit_normaliser(planted)
    with torch.no_grad():
        sae.threshold[::2] = -0.1
        sae.after_step(sae.training_forward(planted), progress(0))
    torch.testing.assert_close(sae.training_forward(planted).codes.dense(), sae.encode(planted).dense())


def test_learning_norms_moves_them_into_the_encoder_without_changing_the_output(planted):
    """The April 2024 form: scaling a row up and its encoder down is the same SAE with unit rows."""
    sae = Standard(16, 48, l1_coefficient=0.1, weigh_by_decoder_norm=True)
    sae.fit_normaliser(planted)
    with torch.no_grad():
        sae.b_enc.normal_(std=0.05, generator=torch.Generator().manual_seed(0))
        sae.W_dec.mul_(torch.linspace(0.3, 3, 48)[:, None])
    before, losses = sae(planted), sae.losses(sae.training_forward(planted), progress(50))
    sae.normalize_decoder()
    torch.testing.assert_close(sae.W_dec.norm(dim=1), torch.ones(48))
    # float32, outputs of norm 40.
    torch.testing.assert_close(sae(planted), before, rtol=0, atol=1e-4)
    after = sae.losses(sae.training_forward(planted), progress(50))
    for name in losses:
        torch.testing.assert_close(after[name], losses[name])


def test_decoder_norms_carry_a_gradient_only_where_they_may_learn(planted):
    for learns in (False, True):
        sae = Standard(16, 48, l1_coefficient=0.1, weigh_by_decoder_norm=learns)
        sae.fit_normaliser(planted)
        sum(sae.losses(sae.training_forward(planted), progress(50)).values()).backward()
        sae.project_decoder_gradient()
        along = (sae.W_dec.grad * sae.W_dec).sum(1).abs().max()
        assert (along > 1e-4).item() == learns
