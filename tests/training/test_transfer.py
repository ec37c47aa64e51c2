from __future__ import annotations

import threading

import pytest
import torch

from biosae.errors import ArtefactError
from biosae.training import transfer
from biosae.training.transfer import on_device

CPU, GPU = torch.device("cpu"), torch.device("cuda")


class Batch:
    """A stand-in that records what becomes of it, since tests have no GPU."""

    def __init__(self):
        self.calls = []

    def pin_memory(self):
        self.calls.append("pinned")
        return self

    def to(self, device, non_blocking=False):
        self.calls.append((device, non_blocking))
        return self


def test_on_a_processor_the_batches_are_handed_on_untouched():
    batches = [torch.zeros(2, 3), torch.zeros(1, 3)]
    assert [id(x) for x in on_device(batches, CPU)] == [id(x) for x in batches]


def test_a_gpu_fetches_every_batch_from_pinned_memory_and_in_order():
    batches = [Batch() for _ in range(5)]
    assert list(on_device(batches, GPU)) == batches
    assert all(batch.calls == ["pinned", (GPU, True)] for batch in batches)
    assert list(on_device([], GPU)) == []


def test_the_next_batch_is_sent_while_one_is_used(monkeypatch):
    arrived = {number: threading.Event() for number in range(3)}
    monkeypatch.setattr(transfer, "_sent", lambda x, device: (arrived[x].set(), x)[1])
    for x in on_device(range(3), GPU):
        if x < 2:
            assert arrived[x + 1].wait(timeout=20)


def test_an_error_in_reading_is_raised_at_most_one_batch_early(monkeypatch):
    monkeypatch.setattr(transfer, "_sent", lambda x, device: x)

    def read():
        yield 1
        yield 2
        raise ArtefactError("a shard is damaged")

    got = []
    with pytest.raises(ArtefactError, match="damaged"):
        for x in on_device(read(), GPU):
            got.append(x)
    assert got == [1]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_numbers_arrive():
    batches = [torch.randn(5, 3) for _ in range(4)]
    for sent, x in zip(on_device(batches, GPU), batches, strict=True):
        assert torch.equal(sent.cpu(), x)
