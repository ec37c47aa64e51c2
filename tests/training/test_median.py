from __future__ import annotations

import torch
from scipy.optimize import minimize

from biosae.training.median import geometric_median


def test_agrees_with_a_general_minimiser():
    points = torch.randn(60, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64).exp()

    def total(median) -> float:
        return (points - torch.from_numpy(median)).norm(dim=1).sum().item()

    best = minimize(total, points.mean(0).numpy(), method="BFGS", options={"gtol": 1e-9})
    # Weiszfeld stops at steps of 1e-6 of the spread and converges linearly.
    torch.testing.assert_close(geometric_median(points), torch.from_numpy(best.x), rtol=0, atol=1e-4)


def test_point_that_equals_the_estimate_is_harmless():
    """The first guess, the mean, is one of the points here: its weight, 1 / distance, is infinite."""
    points = torch.tensor([[0.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [0.0, 2.0], [0.0, -2.0]])
    torch.testing.assert_close(geometric_median(points), torch.zeros(2, dtype=torch.float64), rtol=0, atol=1e-6)


def test_identical_points_are_their_median():
    points = torch.full((4, 3), 2.5)
    torch.testing.assert_close(geometric_median(points), points[0].double())


def test_outliers_move_it_less_than_the_mean():
    points = torch.randn(200, 4, generator=torch.Generator().manual_seed(1))
    points[:5] += 1000
    assert geometric_median(points).norm() < 0.5 < points.mean(0).norm()
