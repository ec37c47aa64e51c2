"""The update in one pass against the same by torch's operators."""

from __future__ import annotations

import pytest
import torch

from biosae.ops import dispatch
from biosae.saes.architecture import Architecture
from biosae.saes.variants.gated import Gated
from biosae.saes.variants.standard import Standard
from biosae.saes.variants.topk import TopK
from biosae.training.settings import TrainerSettings
from biosae.training.train_state import TrainState

pytest.importorskip("numba")

SAES = {
    "topk": lambda: TopK(16, 48, k=3),
    "gated": lambda: Gated(16, 48, l1_coefficient=0.01),
    "learned norms": lambda: Standard(16, 48, l1_coefficient=0.01, weigh_by_decoder_norm=True),
    "free norms": lambda: TopK(16, 48, k=3, architecture=Architecture(decoder_norm="free")),
    "tied": lambda: TopK(16, 48, k=3, architecture=Architecture(tied_decoder=True)),
    "one input": lambda: TopK(1, 4, k=2),
    "one feature": lambda: TopK(16, 1, k=1),
}


@pytest.fixture
def by_operators(monkeypatch):
    """Returns a function after which torch's operators make every update."""
    return lambda: monkeypatch.setitem(dispatch.TABLE, "adamw_step", {})


def train(make, n_threads: int = 1, **changes) -> TrainState:
    """Ten steps on planted activations."""
    sae = make()
    x = torch.randn(200, sae.d_in, generator=torch.Generator().manual_seed(1)).relu()
    sae.fit_normaliser(x)
    learner = TrainState(sae, TrainerSettings(lr=1e-2, warmup_fraction=0, **changes), total_steps=20, total_tokens=4000)
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    for _ in range(10):
        learner.step(x)
    torch.set_num_threads(before)
    return learner


@pytest.mark.parametrize("changes", [{}, {"max_grad_norm": 0.01, "weight_decay": 0.1}], ids=["plain", "clipped"])
@pytest.mark.parametrize("make", SAES.values(), ids=SAES)
def test_equals_the_update_by_operators(make, changes, by_operators):
    fast = train(make, **changes)
    by_operators()
    plain = train(make, **changes)
    for (name, mine), theirs in zip(fast.sae.named_parameters(), plain.sae.parameters(), strict=True):
        # Ten steps of 0.01, of numbers near 1 in float32; a gradient near 0 may point either way.
        torch.testing.assert_close(mine, theirs, rtol=0, atol=2e-5, msg=lambda text, name=name: f"{name}: {text}")
    for mine, theirs in zip(fast.optimizer.state.values(), plain.optimizer.state.values(), strict=True):
        mine, theirs = (moments["exp_avg_sq"].double().sum().item() for moments in (mine, theirs))
        assert mine == pytest.approx(theirs, rel=2e-6, abs=1e-12)  # a float32 of 1 - 0.999 would be 1.3e-5 off


def test_is_what_the_learner_takes(by_operators):
    """It uses up the gradients of matrices, which tells the two ways apart."""
    assert train(SAES["topk"]).sae.W_dec.grad is None
    by_operators()
    assert train(SAES["topk"]).sae.W_dec.grad is not None


def test_does_not_depend_on_the_number_of_threads():
    one, three = (train(SAES["topk"], n_threads=n) for n in (1, 3))
    assert all(torch.equal(*pair) for pair in zip(one.sae.parameters(), three.sae.parameters(), strict=True))


def test_continues_from_moments_of_the_other_way(monkeypatch):
    """A run may go on where numba is not installed, or where it is now."""
    with monkeypatch.context() as patch:
        patch.setitem(dispatch.TABLE, "adamw_step", {})
        plain = train(SAES["topk"])
    state = plain.state()
    go_on = TrainState(plain.sae, plain.settings, total_steps=20, total_tokens=4000)
    go_on.restore(*state)
    go_on.step(torch.randn(50, 16, generator=torch.Generator().manual_seed(2)))
    assert all(moments["step"] == 11 for moments in go_on.optimizer.state.values())


def test_decoder_rows_stay_at_unit_norm_and_a_zero_row_does_not_break():
    learner = train(SAES["topk"])
    norms = learner.sae.W_dec.detach().double().norm(dim=1)
    torch.testing.assert_close(norms, torch.ones_like(norms), rtol=0, atol=1e-6)
    with torch.no_grad():
        learner.sae.W_dec[0] = 0
    learner.step(torch.randn(50, 16, generator=torch.Generator().manual_seed(2)))
    assert learner.sae.W_dec.isfinite().all()
