"""L0 under a target: the shift of all thresholds by hand, and short runs that thresholds alone cannot follow."""

from __future__ import annotations

from math import exp, log

import pytest
import torch

from biosae.activations.source import ArrayActivations
from biosae.saes.forward import ForwardOutput, Progress
from biosae.saes.parts.l0_controller import FREE_FACTOR, threshold_correction
from biosae.saes.variants.jumprelu import JumpReLU
from biosae.training.settings import TrainerSettings
from biosae.training.trainer import Trainer, TrainingRun

WIDTH, FIRST = 64, 0.5
NONE_DEAD = torch.zeros(WIDTH, dtype=torch.bool)
LATE = Progress(50, 100, NONE_DEAD)


def exponential(target_l0: float, threshold: float = FIRST, **changes) -> tuple[JumpReLU, ForwardOutput]:
    """Pre-activations that are exponential with mean 1, and one threshold for all."""
    sae = JumpReLU(WIDTH, WIDTH, target_l0=target_l0, **changes)
    with torch.no_grad():
        sae.W_enc.copy_(torch.eye(WIDTH))
        sae.threshold.fill_(threshold)
    x = torch.empty(2000, WIDTH).exponential_(generator=torch.Generator().manual_seed(0))
    return sae, sae.training_forward(x)


@pytest.mark.parametrize(("wanted", "bound"), [(8, 8 * FREE_FACTOR), (60, 60 / FREE_FACTOR)])
def test_the_shift_leads_to_the_nearest_l0_that_is_left_free(wanted, bound):
    sae, forward = exponential(wanted)
    shift = threshold_correction(forward, sae.threshold, wanted, 1.0, LATE)
    # 78,000 codes: their number and their mean excess are within a percent.
    assert shift == pytest.approx(log(WIDTH * exp(-FIRST) / bound), abs=0.02)
    _, after = exponential(wanted, FIRST + shift)
    assert after.codes.l0().double().mean().item() == pytest.approx(bound, rel=0.02)


def test_near_the_target_thresholds_are_left_alone():
    sae, forward = exponential(WIDTH * exp(-FIRST))
    assert threshold_correction(forward, sae.threshold, sae.settings.target_l0 * 1.1, 1.0, LATE) == 0
    assert threshold_correction(forward, sae.threshold, sae.settings.target_l0 / 1.1, 1.0, LATE) == 0


@pytest.mark.parametrize("threshold", [5.0, 50.0])
def test_downwards_it_is_bounded_also_without_any_code(threshold):
    sae, forward = exponential(60, threshold)
    assert forward.codes.l0().double().mean() < 1
    assert threshold_correction(forward, sae.threshold, 60, 0.01, LATE) == -0.01


def test_the_lower_bound_rises_over_the_first_half():
    sae, forward = exponential(60)  # keeps 39
    early, shifts = [Progress(step, 100, NONE_DEAD) for step in (0, 39, 43, 50)], []
    for progress in early:
        shifts.append(threshold_correction(forward, sae.threshold, 60, 1.0, progress))
    assert shifts[:2] == [0, 0] and 0 > shifts[2] > shifts[3]


def test_a_step_moves_all_thresholds_but_none_without_a_target():
    for changes, moves in (({}, True), ({"penalty": "tanh"}, False), ({"sparsity_coefficient": 0.0}, False)):
        sae, forward = exponential(8, **changes)
        with torch.no_grad():
            sae.after_step(forward, Progress(0, 100, NONE_DEAD))
        assert (sae.threshold > FIRST).all() == moves
        assert len(sae.threshold.unique()) == 1


def test_silent_features_learn_what_the_others_leave_over():
    """Below its threshold and outside its window a feature has no other gradient."""
    sae, _ = exponential(8)
    with torch.no_grad():
        sae.threshold[0] = 100.0
    forward = sae.training_forward(torch.ones(10, WIDTH))
    silent = forward.codes.firing_counts() == 0
    for dead, learns in ((silent, True), (NONE_DEAD, False)):
        loss = sum(sae.losses(forward, Progress(50, 100, dead)).values())
        (gradient,) = torch.autograd.grad(loss, sae.W_enc, retain_graph=True)
        assert silent[0] and bool(gradient[:, 0].any()) == learns


@pytest.mark.parametrize(("d_in", "d_sae", "n_steps"), [(32, 2048, 60), (1024, 512, 20)], ids=["large", "wide"])
def test_short_runs_reach_their_target(d_in, d_sae, n_steps, tmp_path):
    """Without the shift they end at an L0 of 2 and of 94, and at an FVU of 0.68 and 0.77."""
    generator = torch.Generator().manual_seed(0)
    features = torch.nn.functional.normalize(torch.randn(256, d_in, generator=generator), dim=1)
    chosen = torch.rand(128 * n_steps + 1000, 256, generator=generator).topk(6).indices
    x = torch.nn.functional.embedding_bag(chosen, features, mode="sum")
    training, test = ArrayActivations(x[1000:]), ArrayActivations(x[:1000])
    settings = TrainerSettings(lr=None, batch_size=128, eval_every=10**6)
    sae = JumpReLU(d_in, d_sae, target_l0=16, bandwidth=0.5)
    (measured,) = Trainer([TrainingRun(sae, settings, tmp_path)], training, test).run()
    assert 12 < measured["l0"] < 24
    assert measured["fvu"] < 0.6
