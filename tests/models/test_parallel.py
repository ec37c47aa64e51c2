"""Batches on several threads are what they are one by one."""

import threading

import numpy as np
import pytest
import torch

from biosae.models.geneformer import load_geneformer
from biosae.models.parallel import _prepared, each_batch
from biosae.models.scgpt import load_scgpt


@pytest.fixture
def three_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.fixture(params=[load_geneformer, load_scgpt])
def adapter(request):
    name = request.param.__name__.removeprefix("load_")
    return request.param(request.getfixturevalue(f"tiny_{name}"))


def all_layers(adapter, batch):
    return adapter.activations(batch, range(adapter.n_layers))


def test_every_thread_gives_what_one_gives(adapter, cells, three_threads):
    sequences, samples = adapter.tokenize(cells), np.random.default_rng(0).permutation(14)
    found = list(each_batch(adapter, sequences, samples, 40, all_layers))
    expected = list(adapter.batches(sequences, samples, 40))
    assert len(found) > 6 and [b.sample.tolist() for b, _ in found] == [b.sample.tolist() for b in expected]
    torch.set_num_threads(1)
    for (_, hidden), batch in zip(found, expected, strict=True):
        assert all(map(torch.equal, hidden, all_layers(adapter, batch)))


def test_edits_on_one_thread_do_not_reach_another(adapter, cells, three_threads):
    sequences = adapter.tokenize(cells)
    together = threading.Barrier(2, timeout=20)  # two batches are inside the edited layer at once

    def embedded(adapter, batch):
        def edit(hidden):
            if adapter.network.first_two[batch.sample[0].item()]:
                together.wait()
            return hidden * (1 + batch.sample[0])

        return adapter.embed(batch, 1, edit)

    order = [batch.sample[0].item() for batch in adapter.batches(sequences, np.arange(14), 40)]
    adapter.network.first_two = {sample: sample in order[:2] for sample in order}
    for batch, embedding in each_batch(adapter, sequences, np.arange(14), 40, embedded):
        alone = adapter.embed(batch, 1, lambda hidden, batch=batch: hidden * (1 + batch.sample[0]))
        torch.testing.assert_close(embedding, alone, atol=1e-5, rtol=1e-5)  # sums of another number of threads


def test_twins_share_weights_and_nothing_else(adapter):
    twin = adapter.twin()
    names = dict(adapter.network.named_parameters())
    assert all(names[name] is weight for name, weight in twin.network.named_parameters())
    assert not set(map(id, adapter.network.modules())) & set(map(id, twin.network.modules()))


def test_the_number_of_threads_is_as_before(adapter, cells, three_threads):
    sequences, seen = adapter.tokenize(cells), []

    def count(adapter, batch):
        seen.append(torch.get_num_threads())

    list(each_batch(adapter, sequences, np.arange(14), 40, count))
    assert set(seen) == {1} and torch.get_num_threads() == 3
    later = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
    later.start()
    later.join()
    assert seen[-1] == 3


def test_an_error_on_a_thread_is_raised(adapter, cells, three_threads):
    def fail(adapter, batch):
        raise ValueError("no such site")

    with pytest.raises(ValueError, match="no such site"):
        list(each_batch(adapter, adapter.tokenize(cells), np.arange(14), 40, fail))
    assert torch.get_num_threads() == 3


def test_batches_are_prepared_ahead_and_in_order():
    made = []

    def batches():
        for n in range(5):
            made.append(n)
            yield n

    ahead = _prepared(batches())
    assert next(ahead) == 0
    assert list(ahead) == [1, 2, 3, 4] and made == list(range(5))
