import numpy as np
import pytest
from scipy import stats

from biosae.steering.closeness import distance_closed, energy_closed, energy_distance

GENERATOR = np.random.default_rng(0)
CONTROL = GENERATOR.normal(size=(80, 3))
TREATED = GENERATOR.normal(size=(60, 3)) + [4, 0, 0]
ONES = np.ones((80, 5)), np.ones((60, 5))


def test_distance_closed_by_hand():
    whole = TREATED.mean(0) - CONTROL.mean(0)
    for share, expected in ((0.0, 0.0), (0.5, 0.5), (1.0, 1.0), (2.0, 0.0), (-1.0, -1.0)):
        estimate, low, high = distance_closed(CONTROL, CONTROL + share * whole, TREATED, ONES)
        assert (estimate, low, high) == pytest.approx((expected,) * 3, abs=1e-12)


def test_resampled_distances_spread_around_the_estimate():
    weights = tuple(GENERATOR.multinomial(n, np.full(n, 1 / n), size=200).T.astype(float) for n in (80, 60))
    half = CONTROL + (TREATED.mean(0) - CONTROL.mean(0)) / 2
    estimate, low, high = distance_closed(CONTROL, half, TREATED, weights)
    assert low < estimate < high and high - low < 0.3


def test_energy_distance_is_scipys_in_one_dimension():
    first, second = CONTROL[:, :1], TREATED[:, :1]
    n, m = len(first), len(second)
    # SciPy's is the square root of the V-statistic; ours leaves out pairs of a sample with itself.
    within = [np.abs(side - side.T).mean() for side in (first, second)]
    expected = stats.energy_distance(first.ravel(), second.ravel()) ** 2
    expected += sum(within) - within[0] * n / (n - 1) - within[1] * m / (m - 1)
    assert energy_distance(first, second) == pytest.approx(expected)


def test_energy_knows_a_distribution_from_its_mean():
    collapsed = np.tile(TREATED.mean(0), (80, 1))
    assert distance_closed(CONTROL, collapsed, TREATED, ONES)[0] == pytest.approx(1.0)
    assert energy_closed(CONTROL, collapsed, TREATED) < 0.9
    same = np.random.default_rng(1).normal(size=(80, 3)) + [4, 0, 0]
    assert energy_closed(CONTROL, same, TREATED) == pytest.approx(1.0, abs=0.05)
