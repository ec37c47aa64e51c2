"""Halves keep the composition; intervals have the widths that theory gives."""

import numpy as np
import pytest
from scipy.stats import t

from biosae.benchmark.jackknife import interval, random_halves


def test_every_half_has_half_of_every_stratum():
    stratum = np.repeat([0, 1, 2], [10, 5, 1])
    for half in random_halves(stratum, 5, np.random.default_rng(0)):
        assert len(set(half)) == len(half)
        assert np.bincount(stratum[half]).tolist() == [5, 3, 1]


def test_the_interval_of_a_mean_is_that_of_its_standard_error():
    generator = np.random.default_rng(0)
    x = generator.normal(size=400)
    halves = random_halves(np.zeros(400), 4000, generator)
    over_halves = np.array([[x[half].mean()] for half in halves])
    low, high = interval(np.array([x.mean()]), over_halves, 0.5)
    expected = 2 * 1.96 * x.std(ddof=1) / 20
    assert high[0] - low[0] == pytest.approx(expected, rel=0.04)  # 4,000 halves know a variance to 2.2 %
    assert (low[0] + high[0]) / 2 == pytest.approx(x.mean())


def test_larger_halves_are_corrected_for():
    generator = np.random.default_rng(1)
    x = generator.normal(size=300)
    drawn = [generator.choice(300, 200, replace=False) for _ in range(4000)]
    over = np.array([[x[rows].mean()] for rows in drawn])
    low, high = interval(np.array([0.0]), over, 2 / 3)
    assert high[0] == pytest.approx(1.96 * x.std(ddof=1) / np.sqrt(300), rel=0.04)


def test_variance_over_seeds_adds_to_that_over_samples():
    over_halves = np.array([[-1.0], [1.0]])  # variance 2, one degree of freedom
    over_seeds = np.array([[0.0], [3.0], [6.0]])  # variance 9, of the mean 3, two degrees of freedom
    low, high = interval(np.array([3.0]), over_halves, 0.5, over_seeds)
    freedom = (2 + 3) ** 2 / (2**2 / 1 + 3**2 / 2)
    assert high[0] - 3 == pytest.approx(t.ppf(0.975, freedom) * np.sqrt(5))
    assert 3 - low[0] == pytest.approx(high[0] - 3)


def test_no_variance_gives_a_point_and_no_halves_give_nothing():
    low, high = interval(np.array([0.4]), np.full((5, 1), 0.4), 0.5)
    assert (low[0], high[0]) == (0.4, 0.4)
    assert np.isnan(interval(np.array([0.4]), np.empty((0, 1)), 0.5)).all()
