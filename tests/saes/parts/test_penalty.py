from __future__ import annotations

import pytest
import torch

from biosae.ops.support import Support
from biosae.saes.codes import Codes
from biosae.saes.forward import Progress
from biosae.saes.parts.penalty import SMOOTHING, AnnealedPower, l1, power


@pytest.fixture
def codes() -> Codes:
    values = torch.rand(64, 20, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return Codes(torch.where(values > 0.7, values, 0))


def at(step: int, total_steps: int = 100) -> Progress:
    return Progress(step, total_steps, torch.zeros(20, dtype=torch.bool))


def test_l1_is_the_mean_sum(codes):
    assert l1(codes, codes.n_rows).item() == pytest.approx(codes.values.numpy().sum() / 64)


@pytest.mark.parametrize("p", [0.2, 0.5, 1.0])
def test_power_is_the_sum_of_powers_up_to_smoothing(codes, p):
    expected = (codes.values.numpy()[codes.values.numpy() > 0] ** p).sum() / 64
    n_active = (codes.values > 0).sum().item() / 64
    # Smoothing takes SMOOTHING ** p off each active code; for p = 1 nothing.
    off = n_active * SMOOTHING**p if p < 1 else 0
    assert power(codes, p, codes.n_rows).item() == pytest.approx(expected - off, rel=1e-3)


def test_sparse_and_dense_codes_cost_the_same(codes):
    rows, features, values = codes.entries()
    sparse = Codes(values, Support.from_positions(rows * 20 + features, 64, 20))
    assert power(sparse, 0.3, 64).item() == pytest.approx(power(codes, 0.3, 64).item())
    assert l1(sparse, sparse.n_rows).item() == pytest.approx(l1(codes, codes.n_rows).item())


def test_gradient_is_finite_at_zero_and_matches_finite_differences():
    """The slope of f ** p is infinite at 0."""
    values = torch.tensor([[0.0, 1e-9, 0.01, 0.5]], dtype=torch.float64, requires_grad=True)
    power(Codes(values), 0.2, 1).backward()
    assert torch.isfinite(values.grad).all()
    assert torch.autograd.gradcheck(lambda v: power(Codes(v), 0.2, 1), values.detach().requires_grad_())


def test_gradient_stays_finite_where_codes_are_weighed():
    """An infinite slope is hidden by ReLU's mask until a factor comes between, and then is NaN."""
    pre = torch.tensor([[-1.0, 0.0, 0.5]], dtype=torch.float64, requires_grad=True)
    norms = torch.tensor([0.0, 2.0, 3.0], dtype=torch.float64, requires_grad=True)
    power(Codes(torch.relu(pre) * norms), 0.2, 1).backward()
    assert torch.isfinite(pre.grad).all() and torch.isfinite(norms.grad).all()
    assert pre.grad[0, 0] == 0


def test_power_falls_in_ten_levels_over_the_end_of_the_run(codes):
    """A schedule in absolute steps runs backwards in short runs."""
    annealed, seen = AnnealedPower(p_end=0.2, start_fraction=0.2), []
    for step in range(100):
        annealed.update(codes, at(step))
        seen.append(annealed.p.item())
    assert seen[:20] == [1.0] * 20
    assert sorted(set(seen), reverse=True) == pytest.approx([1 - 0.8 * i / 9 for i in range(10)])
    assert seen == sorted(seen, reverse=True)
    assert seen[-1] == pytest.approx(0.2)


@pytest.mark.parametrize("total_steps", [1, 3, 12])
def test_tiny_runs_reach_the_last_power(codes, total_steps):
    annealed = AnnealedPower(p_end=0.2, start_fraction=0.2)
    for step in range(total_steps):
        annealed.update(codes, at(step, total_steps))
    assert annealed.p.item() == pytest.approx(0.2)


def test_weight_keeps_the_size_of_the_penalty(codes):
    annealed = AnnealedPower(p_end=0.2, start_fraction=0.2)
    before = annealed(codes, 64).item()
    for step in range(100):
        annealed.update(codes, at(step))
    assert annealed(codes, 64).item() == pytest.approx(before, rel=1e-5)  # the weight acts in float32


@pytest.mark.parametrize("smoothing", [1e-3, 1e-2])
def test_smoothing_bounds_the_slope_where_a_code_is_hardly_there(codes, smoothing):
    """In the closed form, with power and weight as the run has moved them."""
    annealed = AnnealedPower(p_end=0.2, start_fraction=0.0, smoothing=smoothing)
    annealed.update(codes, at(99))
    values = torch.tensor([0.0, 0.01, 0.5], dtype=torch.float64, requires_grad=True)
    annealed(Codes(values[None]), 1).backward()
    expected = annealed.weight * 0.2 * (values.detach() + smoothing) ** -0.8
    torch.testing.assert_close(values.grad, expected, rtol=1e-6, atol=0)  # the weight acts in float32
    assert annealed(codes, 64).item() == pytest.approx(l1(codes, 64).item(), rel=1e-5)


def test_nothing_active_changes_nothing():
    annealed = AnnealedPower(p_end=0.2, start_fraction=0.0)
    annealed.update(Codes(torch.zeros(4, 20)), at(99))
    assert annealed.p == 1 and annealed.weight == 1
