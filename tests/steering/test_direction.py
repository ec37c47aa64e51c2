import numpy as np
import pytest

from biosae.errors import SettingError
from biosae.steering.activity import activity
from biosae.steering.contrast import contrast
from biosae.steering.direction import Difference, difference, greedy_ranking, toward_settings


@pytest.fixture
def conditions(table):
    return contrast(table, "batch", "steer.perturbation.key")


def test_the_difference_is_of_the_choosing_samples(table, conditions):
    found = difference(table, conditions, "a", "b")
    assert found.codes[0] == pytest.approx(1.0)  # 0 in a, 1 in b
    assert found.codes[1] == pytest.approx(0.0)  # differs on test alone
    assert found.codes[2] == 0
    assert found.activation[0] == pytest.approx(3.0, abs=0.5)
    np.testing.assert_allclose(difference(table, conditions, "b", "a").codes, -found.codes)


def test_a_value_that_does_not_exist_is_refused(table, conditions):
    with pytest.raises(SettingError, match=r"steer.perturbation.treated must be a value of batch \(a, b\), got c"):
        difference(table, conditions, "a", "c")


def test_greedy_takes_what_brings_closest():
    # Features 0 and 1 point the same way; after the first, the third helps more than the second.
    W_dec = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    found = Difference(codes=np.array([3.0, 0.5, 1.0, 0.0]), activation=np.array([3.5, 1.0]), between="")
    assert greedy_ranking(found, W_dec, 3).tolist() == [0, 2, 1]


def test_greedy_stops_when_nothing_helps():
    W_dec = np.eye(3)
    found = Difference(codes=np.array([1.0, 1.0, -1.0]), activation=np.array([1.0, 0.0, 0.5]), between="")
    assert 2 not in greedy_ranking(found, W_dec, 3)


def test_greedy_does_not_depend_on_the_unit_of_codes():
    generator = np.random.default_rng(0)
    W_dec, codes = generator.normal(size=(20, 6)), generator.normal(size=20)
    activation = (codes[:, None] * W_dec).sum(0) + 0.1 * generator.normal(size=6)
    same = greedy_ranking(Difference(codes, activation, ""), W_dec, 5)
    assert greedy_ranking(Difference(100 * codes, activation, ""), W_dec, 5).tolist() == same.tolist()


def test_settings_add_the_difference_at_every_strength(table, conditions):
    found, ranking = difference(table, conditions, "a", "b"), np.array([0, 4, 7])
    baselines = ("matched_features", "random_direction", "difference_in_means", "centring")
    settings = toward_settings(ranking, found, (1, 9), (0.5, 2.0), (0, 1), baselines, activity(table))
    sae = [s for s in settings if s.method == "sae"]
    assert [(s.value, s.n_features) for s in sae] == [(0.5, 1), (0.5, 3), (2.0, 1), (2.0, 3)]
    np.testing.assert_allclose(sae[-1].amount, 2 * found.codes[ranking])
    matched = [s for s in settings if s.method == "matched_features" and s.n_features == 3 and s.value == 2.0]
    assert len(matched) == 2 and all(s.amount == sae[-1].amount and not set(s.features) & {0, 4, 7} for s in matched)
    assert {s.method for s in settings} == {"sae", "matched_features", "random_direction", "difference_in_means"}
