import numpy as np
import pytest
import torch

from biosae.activations.stream import StreamedActivations
from biosae.errors import DataError


@pytest.fixture
def source(adapter, sequences):
    return StreamedActivations(adapter, sequences, np.arange(30), 0, buffer_tokens=100, tokens_per_batch=64)


def test_gives_what_the_store_gives(source, sequences, expected):
    rows = torch.cat(list(source.batches(16, seed=0)))
    wanted = expected[torch.from_numpy(~sequences.special)]
    assert source.n_tokens == len(wanted)
    torch.testing.assert_close(rows.sort(0).values, wanted.sort(0).values)


def test_order_is_seeded_and_can_be_entered_anywhere(source, adapter):
    first = list(source.batches(16, seed=1))
    before = adapter.n_forward
    rest = list(source.batches(16, seed=1, start=len(first) - 2))
    assert all(torch.equal(a, b) for a, b in zip(first[-2:], rest, strict=True))
    assert adapter.n_forward - before < before / 2  # skipped buffers are not computed
    assert not torch.equal(first[0], next(source.batches(16, seed=1, epoch=1)))


def test_samples_without_tokens_alone_are_refused(adapter, sequences):
    with pytest.raises(DataError, match="none of the chosen samples"):
        StreamedActivations(adapter, sequences, np.array([3, 29]), 0, buffer_tokens=100)
