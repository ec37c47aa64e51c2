from __future__ import annotations

import pytest
import torch

from biosae.saes.variants.standard import Standard
from biosae.training.resample import resample
from biosae.training.train_state import TrainState


def prepared(source, settings, **changes) -> tuple[TrainState, torch.Tensor]:
    sae = Standard(16, 48, l1_coefficient=0.05)
    sae.fit_normaliser(source.values)
    learner = TrainState(sae, settings(**changes), total_steps=20, total_tokens=10_000)
    for x in source.values.split(500)[:2]:
        learner.step(x)
    dead = torch.zeros(48, dtype=torch.bool)
    dead[[1, 5, 40]] = True
    return learner, dead


def test_dead_features_become_badly_reconstructed_inputs(source, settings):
    """Writing through chained indexing changes a copy, and inputs that keep their length make features too large."""
    learner, dead = prepared(source, settings)
    sae = learner.sae
    before = {name: parameter.detach().clone() for name, parameter in sae.named_parameters()}
    forward = sae.training_forward(source.values[:300])
    revived = resample(sae, learner.optimizer, forward, dead, seed=0)
    assert revived.tolist() == [1, 5, 40]
    directions = torch.nn.functional.normalize(forward.x - sae.b_dec, dim=1)
    assert ((sae.W_dec[dead] @ directions.t()).max(1).values > 1 - 1e-5).all()
    norm = 0.2 * before["W_enc"][:, ~dead].norm(dim=0).mean()
    torch.testing.assert_close(sae.W_enc[:, dead], norm * sae.W_dec[dead].t())
    assert (sae.b_enc[dead] == 0).all()
    torch.testing.assert_close(sae.W_dec[~dead], before["W_dec"][~dead])
    torch.testing.assert_close(sae.W_enc[:, ~dead], before["W_enc"][:, ~dead])


def test_moments_of_the_replaced_features_are_forgotten(source, settings):
    """Adam would go on with the moments of the feature that died."""
    learner, dead = prepared(source, settings)
    sae = learner.sae
    resample(sae, learner.optimizer, sae.training_forward(source.values[:300]), dead, seed=0)
    for parameter, axis in ((sae.W_dec, 0), (sae.W_enc, 1), (sae.b_enc, 0)):
        for name in ("exp_avg", "exp_avg_sq"):
            moment = learner.optimizer.state[parameter][name].movedim(axis, 0)
            assert (moment[dead] == 0).all()
            assert moment[~dead].abs().sum() > 0


def test_large_errors_are_drawn_in_proportion_to_their_square(source, settings):
    """Not in proportion to the error itself: two inputs with squared norms 1 and 3 are drawn 1 : 9."""
    learner, dead = prepared(source, settings)
    sae = learner.sae
    with torch.no_grad():
        sae.W_dec.zero_()
        sae.b_dec.zero_()
    x = torch.zeros(2, 16)
    x[0, 0], x[1, 1] = 1.0, 3**0.5
    forward = sae.training_forward(x * sae.input_scale + sae.input_mean)
    only = torch.zeros(48, dtype=torch.bool)
    only[7] = True
    n_second = 0
    for seed in range(400):
        resample(sae, learner.optimizer, forward, only, seed)
        n_second += int(sae.W_dec[7, 1] > 0.5)
    # Binomial(400, 0.9): standard deviation 6, four of them.
    assert abs(n_second - 360) < 24


def test_no_dead_feature_changes_nothing(source, settings):
    learner, dead = prepared(source, settings)
    before = learner.sae.W_dec.detach().clone()
    resample(learner.sae, learner.optimizer, learner.sae.training_forward(source.values[:300]), dead & False, seed=0)
    assert torch.equal(learner.sae.W_dec, before)


@pytest.mark.parametrize("warmup_fraction", [0.0, 0.05])
def test_learner_resamples_at_the_given_share_of_the_run(source, settings, warmup_fraction):
    """A learning rate that warms up again after resampling divides by zero where the warm-up has no steps."""
    changes = {"resample_at": [0.25], "dead_window_fraction": 0.1, "warmup_fraction": warmup_fraction}
    learner, _ = prepared(source, settings, **changes)
    with torch.no_grad():
        learner.sae.b_enc[:4] = -100
    learner.tokens_since_fired[:4] = 10**6
    for n_steps, x in enumerate(source.values.split(200)[:4], start=3):
        learner.step(x)
        assert bool((learner.sae.b_enc[:4] > -50).all()) == (n_steps >= 5)
