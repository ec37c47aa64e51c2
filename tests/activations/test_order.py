import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from biosae.activations import order
from biosae.activations.order import KeyedOrder, random_order


def drawn(n, seed=0):
    return random_order(n, torch.Generator().manual_seed(seed))


@given(st.integers(1, 3000), st.integers(0, 99))
@settings(deadline=None)
def test_a_keyed_order_has_every_number_once_and_parts_agree_with_the_whole(n, seed):
    key = np.random.default_rng(seed).integers(2**32, size=order.ROUNDS, dtype=np.uint64)
    keyed = KeyedOrder(n, key)
    whole = keyed[0:n]
    assert sorted(whole.tolist()) == list(range(n)) and len(keyed) == n
    assert np.array_equal(np.concatenate([keyed[first : first + 7] for first in range(0, n, 7)]), whole)


def test_few_numbers_come_in_the_order_of_torch():
    assert torch.equal(
        torch.from_numpy(drawn(1000)).long(), torch.randperm(1000, generator=torch.Generator().manual_seed(0))
    )


def test_many_are_looked_up_and_another_seed_has_another_order(monkeypatch):
    monkeypatch.setattr(order, "IN_MEMORY", 100)
    first, again, other = (drawn(5000, seed)[0:5000] for seed in (1, 1, 2))
    assert np.array_equal(first, again) and (first == other).mean() < 0.01


@pytest.mark.parametrize("n", [1 << 12, 4097, 5000])
def test_a_keyed_order_is_as_uniform_and_as_unrelated_as_a_drawn_one(n):
    """400 orders: where the first number lands, and the difference of neighbours, in 16 equal bins."""
    key = np.random.default_rng(0).integers(2**32, size=(400, order.ROUNDS), dtype=np.uint64)
    found = np.stack([KeyedOrder(n, one)[0:n] for one in key])
    for values in (found[:, 0], found[:, -1], (found[:, 1] - found[:, 0]) % n):
        counts = np.bincount(values * 16 // n, minlength=16)
        assert ((counts - 25) ** 2 / 25).sum() < 40  # chi-square of 15 degrees of freedom: 0.05 % lie above
    neighbours = np.corrcoef(found[:, :-1].ravel(), found[:, 1:].ravel())[0, 1]
    assert abs(neighbours) < 0.005  # 1.6 million pairs: standard error 0.0008
