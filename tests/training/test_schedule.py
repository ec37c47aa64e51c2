from __future__ import annotations

import pytest

from biosae.saes.variants.standard import Standard
from biosae.saes.variants.topk import TopK
from biosae.training.schedule import default_lr, lr_factor


@pytest.mark.parametrize(
    ("fraction", "factor"),
    [(0, 0), (0.05, 0.5), (0.1, 1), (0.5, 1), (0.8, 1), (0.9, 0.5), (0.95, 0.25), (1, 0)],
)
def test_linear_trapezoid(settings, fraction, factor):
    made = settings(warmup_fraction=0.1, decay_fraction=0.2)
    assert lr_factor(made, fraction) == pytest.approx(factor)


def test_cosine_falls_slowly_fast_slowly(settings):
    made = settings(warmup_fraction=0.0, decay_fraction=1.0, decay="cosine")
    # (1 + cos(pi t)) / 2 at t = 0, 1/4, 1/2, 1.
    expected = [1, 0.8535533905932737, 0.5, 0]
    assert [lr_factor(made, t) for t in (0, 0.25, 0.5, 1)] == pytest.approx(expected)


def test_default_learning_rate_follows_the_root_law():
    assert default_lr(TopK(2, 1024, k=1)) == pytest.approx(5e-3)
    assert default_lr(TopK(2, 4 * 1024, k=1)) == pytest.approx(2.5e-3)
    assert default_lr(Standard(2, 1024, l1_coefficient=0.1)) == pytest.approx(2e-3)
