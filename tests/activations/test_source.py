import pytest
import torch

from biosae.activations.source import ArrayActivations
from biosae.errors import DataError


def test_every_row_once_in_a_seeded_order():
    source = ArrayActivations(torch.arange(20.0).reshape(10, 2))
    batches = list(source.batches(4, seed=0))
    assert [len(b) for b in batches] == [4, 4, 2]
    assert torch.equal(torch.cat(batches).sort(0).values, source.values)
    rest = list(source.batches(4, seed=0, start=1))
    assert all(torch.equal(a, b) for a, b in zip(batches[1:], rest, strict=True))
    assert not torch.equal(batches[0], next(source.batches(4, seed=0, epoch=1)))


@pytest.mark.parametrize("values", [torch.zeros(3), torch.zeros(0, 2), torch.tensor([[1.0, float("nan")]])])
def test_unusable_matrices_are_refused(values):
    with pytest.raises(DataError, match="activations"):
        ArrayActivations(values)
