import threading

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from biosae.activations.shuffle import RowBuffer, shuffled_batches
from biosae.distributed.processes import ReplicaGroup
from biosae.errors import ArtefactError


def buffers(sizes, read_log):
    first = 0
    for number, size in enumerate(sizes):
        rows = torch.arange(first, first + size).unsqueeze(1)

        def read(wanted, rows=rows, number=number):
            read_log.append(number)
            return rows[wanted]

        yield RowBuffer(size, read)
        first += size


def batches(sizes, batch_size, start=0, read_log=None):
    log = [] if read_log is None else read_log
    return list(shuffled_batches(buffers(sizes, log), batch_size, torch.Generator().manual_seed(5), start))


sizes = st.lists(st.integers(0, 30), min_size=1, max_size=8)


@given(sizes, st.integers(1, 40))
def test_every_row_comes_once_and_only_the_last_batch_is_small(sizes, batch_size):
    out = batches(sizes, batch_size)
    rows = torch.cat(out).flatten().tolist() if out else []
    assert sorted(rows) == list(range(sum(sizes)))
    assert all(len(batch) == batch_size for batch in out[:-1])


@given(sizes, st.integers(1, 40), st.integers(0, 10))
def test_starting_later_gives_the_same_remaining_batches(sizes, batch_size, start):
    whole, rest = batches(sizes, batch_size), batches(sizes, batch_size, start)
    assert [b.tolist() for b in whole[start:]] == [b.tolist() for b in rest]


@given(sizes, st.integers(1, 40), st.integers(0, 10))
def test_reading_ahead_changes_no_batch(sizes, batch_size, start):
    usual, generator = batches(sizes, batch_size, start), torch.Generator().manual_seed(5)
    ahead = list(shuffled_batches(buffers(sizes, []), batch_size, generator, start, reads_ahead=True))
    assert [b.tolist() for b in ahead] == [b.tolist() for b in usual]


@given(sizes, st.integers(3, 40), st.integers(0, 10), st.integers(2, 3))
def test_processes_get_their_shares_of_the_batches_of_one(sizes, batch_size, start, n_processes):
    usual = batches(sizes, batch_size, start)
    for rank in range(n_processes):
        generator, group = torch.Generator().manual_seed(5), ReplicaGroup(rank, n_processes)
        own = list(shuffled_batches(buffers(sizes, []), batch_size, generator, start, group=group))
        assert [b.tolist() for b in own] == [group.shard_rows(b).tolist() for b in usual]
        assert all(b.ndim == 2 for b in own)


def test_the_next_group_is_read_while_one_is_used_and_its_error_is_raised():
    was_read = threading.Event()

    def fails(wanted):
        was_read.set()
        raise ArtefactError("damaged")

    found = shuffled_batches(
        [RowBuffer(2, lambda wanted: torch.zeros(2, 1)[wanted]), RowBuffer(2, fails)],
        1,
        torch.Generator(),
        reads_ahead=True,
    )
    next(found)
    assert was_read.wait(10)
    next(found)
    with pytest.raises(ArtefactError, match="damaged"):
        next(found)


def test_groups_before_the_start_are_not_read():
    log = []
    batches([10, 10, 10], 5, start=4, read_log=log)
    assert log == [2]
