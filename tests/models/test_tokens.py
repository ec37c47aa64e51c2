"""Token sequences: ragged storage, padding and batches of similar length."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from biosae.models.tokens import (
    SpecialToken,
    TokenSequences,
    joined,
    joined_on_disk,
    length_buckets,
    pad_batch,
    with_special,
)


def test_special_tokens_stand_around_the_content_of_samples_that_have_any():
    depth = np.array([7.0, 8.0, 9.0])
    sequences = with_special(
        np.array([2, 0, 1]),
        token=np.array([10, 11, 12]),
        value=np.array([0.5, 0.25, 0.125]),
        first=[SpecialToken(1, -2.0)],
        last=[SpecialToken(2), SpecialToken(3, depth)],
    )
    assert sequences.token.tolist() == [1, 10, 11, 2, 3, 1, 12, 2, 3]
    assert sequences.value.tolist() == [-2, 0.5, 0.25, 0, 7, -2, 0.125, 0, 9]
    assert sequences.special.tolist() == [True, False, False, True, True, True, False, True, True]
    assert sequences.offsets.tolist() == [0, 5, 5, 9]
    assert sequences.sample_of_token().tolist() == [0] * 5 + [2] * 4


@pytest.mark.parametrize("memory_tokens", [0, 5, 10**6])
def test_parts_joined_on_disk_are_those_joined_in_memory(tmp_path, memory_tokens):
    generator = np.random.default_rng(0)
    parts = []
    for n in (3, 0, 4, 2):
        n_content = generator.integers(0, 5, n)
        token, value = generator.integers(1, 90, n_content.sum()), generator.random(n_content.sum())
        part = with_special(n_content, token, value, first=[SpecialToken(1)])
        parts.append(replace(part, batch_label=np.arange(n)))
    found, expected = joined_on_disk(iter(parts), tmp_path, memory_tokens), joined(parts)
    for name in ("token", "value", "special", "offsets", "batch_label"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    assert found.hash == expected.hash
    assert list(tmp_path.iterdir()) == []  # the files have no name
    assert isinstance(found.token, np.memmap) == (memory_tokens < 10**6)


def test_joined_parts_keep_their_order():
    part = with_special(np.array([1, 0]), np.array([5]), np.array([1.0]))
    both = joined([part, part])
    assert both.token.tolist() == [5, 5] and both.offsets.tolist() == [0, 1, 1, 2, 2]


def ragged(lengths):
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    token = np.arange(1, offsets[-1] + 1, dtype=np.int32)
    labels = np.arange(len(lengths)) % 3
    return TokenSequences(token, token.astype(np.float32), token % 5 == 0, offsets, labels)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=12), st.integers(1, 40))
def test_batches_hold_every_token_once_within_the_budget(lengths, budget):
    sequences = ragged(lengths)
    seen = {}
    for group in length_buckets(sequences.lengths, np.arange(len(lengths)), budget):
        batch = pad_batch(sequences, group, pad_token=0)
        assert batch.token.numel() <= max(budget, batch.token.shape[1])
        assert (batch.token[~batch.mask] == 0).all() and not batch.special[~batch.mask].any()
        assert torch.equal(batch.token[batch.mask].float(), batch.value[batch.mask])
        assert torch.equal(batch.batch_label, batch.sample % 3)
        for sample, token, mask in zip(batch.sample.tolist(), batch.token, batch.mask, strict=True):
            assert sample not in seen
            seen[sample] = token[mask].tolist()
    expected = {n: sequences.token[slice(*sequences.offsets[n : n + 2])].tolist() for n in range(len(lengths))}
    assert seen == {n: tokens for n, tokens in expected.items() if tokens}


def test_buckets_start_with_the_longest():
    groups = list(length_buckets(np.array([3, 9, 5, 0, 4]), np.arange(5), 10))
    assert [group.tolist() for group in groups] == [[1], [2, 4], [0]]
