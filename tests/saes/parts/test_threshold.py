from __future__ import annotations

import pytest
import torch

from biosae.saes.codes import Codes
from biosae.saes.parts.threshold import RunningThreshold


def batch(*values: float) -> Codes:
    return Codes(torch.tensor([values]))


def test_first_update_is_taken_whole():
    threshold = RunningThreshold()
    threshold.update(batch(0.0, 3.0, 2.5), window_steps=1000)
    assert float(threshold.value) == pytest.approx(2.5, rel=1e-12)


def test_value_is_the_debiased_exponential_mean():
    threshold, stream, share = RunningThreshold(), [4.0, 1.0, 2.0, 7.0], 1 / 10
    for smallest in stream:
        threshold.update(batch(smallest, 9.0), window_steps=10)
    weights = [share * (1 - share) ** age for age in range(len(stream))][::-1]
    expected = sum(w * s for w, s in zip(weights, stream, strict=True)) / sum(weights)
    assert float(threshold.value) == pytest.approx(expected, rel=1e-12)


def test_long_windows_do_not_stall():
    """An average kept in 16 bits stays at its first value for ever."""
    threshold = RunningThreshold()
    threshold.update(batch(1.0), window_steps=1000)
    for _ in range(20_000):
        threshold.update(batch(2.0), window_steps=1000)
    assert float(threshold.value) == pytest.approx(2.0, abs=1e-6)
    assert threshold.value.dtype == torch.float64


def test_a_batch_in_which_nothing_fires_changes_nothing():
    """The minimum over no codes is not a number."""
    threshold = RunningThreshold()
    threshold.update(batch(0.0, 0.0), window_steps=10)
    assert float(threshold.value) == 0
    threshold.update(batch(2.0), window_steps=10)
    threshold.update(batch(0.0), window_steps=10)
    assert float(threshold.value) == pytest.approx(2.0, rel=1e-12)
