import resource
from dataclasses import replace

import numpy as np
import pytest
import torch

from biosae.activations import order
from biosae.activations.extract import extract_activations
from biosae.activations.source import epoch_seed
from biosae.activations.store import ActivationStore
from biosae.errors import ArtefactError, DataError, SettingError
from biosae.models.tokens import TokenSequences


@pytest.fixture
def store(adapter, sequences, tmp_path):
    return extract_activations(
        adapter, sequences, 0, tmp_path, dtype="float32", tokens_per_batch=64, tokens_per_shard=100
    )


def test_shards_hold_every_token_in_the_order_of_the_samples(store, sequences, expected):
    shards = list(store.shards())
    assert len(shards) > 3
    torch.testing.assert_close(torch.cat([s.values for s in shards]), expected)
    np.testing.assert_array_equal(torch.cat([s.token for s in shards]), sequences.token)
    np.testing.assert_array_equal(torch.cat([s.sample for s in shards]), sequences.sample_of_token())
    np.testing.assert_array_equal(torch.cat([s.value for s in shards]), sequences.value)
    np.testing.assert_array_equal(torch.cat([s.special for s in shards]), sequences.special)
    assert (store.n_tokens, store.n_samples) == (len(sequences.token), 30)


def test_a_source_gives_the_content_tokens_of_its_samples_and_no_other(store, sequences, expected):
    samples = np.array([0, 3, 7, 12, 28])
    source = store.content_of(samples, buffer_tokens=128)
    wanted = expected[torch.from_numpy(np.isin(sequences.sample_of_token(), samples) & ~sequences.special)]
    rows = torch.cat(list(source.batches(16, seed=0)))
    assert source.n_tokens == len(wanted) == len(rows)
    torch.testing.assert_close(rows.sort(0).values, wanted.sort(0).values)


def test_order_depends_on_seed_and_epoch_only_and_can_be_entered_anywhere(store):
    source = store.content_of(np.arange(30), buffer_tokens=128)
    first = list(source.batches(16, seed=1))
    assert all(torch.equal(a, b) for a, b in zip(first, source.batches(16, seed=1), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(first[5:], source.batches(16, seed=1, start=5), strict=True))
    assert not torch.equal(first[0], next(source.batches(16, seed=2)))
    assert not torch.equal(first[0], next(source.batches(16, seed=1, epoch=1)))


@pytest.mark.parametrize(("tokens_per_shard", "buffer_tokens"), [(100, 128), (1000, 200), (10_000, 64)])
def test_blocks_are_every_64_chosen_rows_of_a_shard(adapter, tmp_path, tokens_per_shard, buffer_tokens):
    generator = np.random.default_rng(1)
    lengths = generator.integers(0, 90, 60)
    n = lengths.sum()
    token, special = generator.integers(1, 50, n).astype(np.int32), generator.random(n) < 0.2
    sequences = TokenSequences(token, np.zeros(n, np.float32), special, np.append(0, np.cumsum(lengths)))
    store = extract_activations(adapter, sequences, 0, tmp_path, "float32", tokens_per_shard=tokens_per_shard)
    samples = np.flatnonzero(generator.random(60) < 0.6)
    blocks = []
    for shard in store.shards():
        rows = np.flatnonzero(np.isin(shard.sample, samples) & ~shard.special.numpy())
        blocks += [shard.values[rows[first : first + 64]] for first in range(0, len(rows), 64)]
    drawing = torch.Generator().manual_seed(epoch_seed(3, 2))
    drawn, per_group = torch.randperm(len(blocks), generator=drawing), max(1, buffer_tokens // 64)
    groups = [torch.cat([blocks[i] for i in sorted(part.tolist())]) for part in drawn.split(per_group)]
    wanted = torch.cat([group[torch.randperm(len(group), generator=drawing)] for group in groups])
    found = store.content_of(samples, buffer_tokens).batches(48, seed=3, epoch=2)
    assert torch.equal(torch.cat(list(found)), wanted)


def test_an_order_too_long_for_memory_gives_every_row_once_and_can_be_entered_anywhere(store, monkeypatch):
    source = store.content_of(np.arange(30), buffer_tokens=128)
    usual = torch.cat(list(source.batches(16, seed=1)))
    monkeypatch.setattr(order, "IN_MEMORY", 2)
    found = list(source.batches(16, seed=1))
    assert not torch.equal(torch.cat(found), usual)
    torch.testing.assert_close(torch.cat(found).sort(0).values, usual.sort(0).values)
    assert all(torch.equal(a, b) for a, b in zip(found[5:], source.batches(16, seed=1, start=5), strict=True))


def test_a_batch_mixes_samples(adapter, sequences, tmp_path):
    owner = sequences.sample_of_token().astype(np.int32)
    store = extract_activations(adapter, replace(sequences, token=owner), 0, tmp_path, dtype="float32")
    batch = next(store.content_of(np.arange(30), buffer_tokens=10_000).batches(64, seed=0))
    # 64 of about 600 tokens of 28 samples; in the order of the store they would come from four or fewer.
    assert len(torch.unique(batch, dim=0)) >= 15


def test_a_second_extraction_reads_the_first(store, adapter, sequences, tmp_path):
    before = adapter.n_forward
    again = extract_activations(adapter, sequences, -2, tmp_path, "float32", tokens_per_batch=64, tokens_per_shard=100)
    assert adapter.n_forward == before
    assert (again.folder, again.hash) == (store.folder, store.hash)


def test_an_interrupted_extraction_keeps_its_finished_shards(store, adapter, sequences, tmp_path):
    (store.folder / "manifest.json").unlink()
    (store.folder / "shard-00001.safetensors").unlink()
    before = adapter.n_forward
    again = extract_activations(adapter, sequences, 0, tmp_path, "float32", tokens_per_batch=64, tokens_per_shard=100)
    assert 0 < adapter.n_forward - before <= 4  # the batches of one shard
    assert again.hash == store.hash


def test_sample_means_leave_out_special_tokens_and_mark_empty_samples(store, sequences, expected, tmp_path):
    means = store.sample_means(tmp_path)
    chosen = (sequences.sample_of_token() == 7) & ~sequences.special
    np.testing.assert_allclose(means[7], expected[torch.from_numpy(chosen)].mean(0), rtol=1e-5)
    assert np.isnan(means[[3, 29]]).all()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_stays_within_its_rounding(adapter, sequences, expected, tmp_path, dtype):
    store = extract_activations(adapter, sequences, 0, tmp_path, dtype=dtype)
    values = torch.cat([s.values for s in store.shards()])
    spacing = torch.finfo(getattr(torch, dtype)).eps
    torch.testing.assert_close(values.float(), expected, rtol=spacing, atol=spacing)


def test_values_beyond_float16_are_refused(adapter, sequences, tmp_path):
    adapter.network.layers[0].weight.data *= 1e6
    with pytest.raises(SettingError, match="use dtype=bfloat16"):
        extract_activations(adapter, sequences, 0, tmp_path)


def test_a_truncated_or_missing_shard_is_named(store):
    shard = store.folder / "shard-00000.safetensors"
    shard.write_bytes(shard.read_bytes()[:-8])
    with pytest.raises(ArtefactError, match="shard-00000.safetensors has .* bytes, expected"):
        ActivationStore(store.folder)
    shard.unlink()
    with pytest.raises(ArtefactError, match="has 0 bytes"):
        ActivationStore(store.folder)


def test_a_shard_with_one_other_bit_is_named_before_it_is_used(store):
    path = store.folder / "shard-00001.safetensors"
    content = bytearray(path.read_bytes())
    content[-200] ^= 1
    path.write_bytes(content)
    with pytest.raises(ArtefactError, match="shard-00001.safetensors was changed or damaged; delete .* and rerun"):
        ActivationStore(store.folder).content_of(np.arange(30), buffer_tokens=128)


def test_a_full_disk_ends_the_extraction_with_whole_shards_only(adapter, sequences, tmp_path):
    """Files beyond 4 kB cannot be written, as on a full disk; freed space lets the same call finish."""
    ordinary = resource.getrlimit(resource.RLIMIT_FSIZE)
    settings = {"dtype": "float32", "tokens_per_batch": 64, "tokens_per_shard": 300}
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, ordinary[1]))
    try:
        with pytest.raises(ArtefactError, match="cannot write .*shard-00000.safetensors: .*File too large"):
            extract_activations(adapter, sequences, 0, tmp_path, **settings)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, ordinary)
    (folder,) = tmp_path.iterdir()
    assert list(folder.iterdir()) == []
    assert extract_activations(adapter, sequences, 0, tmp_path, **settings).n_tokens == len(sequences.token)


def test_what_a_killed_extraction_left_is_cleared(store, adapter, sequences, tmp_path):
    (store.folder / "manifest.json").unlink()
    (store.folder / ".shard-00001.safetensors.k2x8_a9q").mkdir()
    extract_activations(adapter, sequences, 0, tmp_path, "float32", tokens_per_batch=64, tokens_per_shard=100)
    assert not list(store.folder.glob(".*"))


def test_unknown_dtype_and_samples_without_tokens_are_refused(store, adapter, sequences, tmp_path):
    with pytest.raises(SettingError, match="one of float32, float16, bfloat16, got int8"):
        extract_activations(adapter, sequences, 0, tmp_path, dtype="int8")
    with pytest.raises(DataError, match="none of the chosen samples has a token"):
        store.content_of(np.array([3, 29]), buffer_tokens=128)


def test_other_layers_are_stored_by_the_same_pass(adapter, sequences, tmp_path):
    settings = {"dtype": "float32", "tokens_per_batch": 64, "tokens_per_shard": 100}
    alone = [extract_activations(adapter, sequences, layer, tmp_path / "alone", **settings) for layer in (0, 1)]
    before = adapter.n_forward
    first = extract_activations(adapter, sequences, 0, tmp_path / "both", also_layers=[-1, 0], **settings)
    assert adapter.n_forward - before == before / 2
    second = extract_activations(adapter, sequences, 1, tmp_path / "both", **settings)
    assert adapter.n_forward - before == before / 2
    assert [first.hash, second.hash] == [store.hash for store in alone]
    assert [store.folder.name for store in (first, second)] == [store.folder.name for store in alone]
    with pytest.raises(SettingError, match="has layers 0 to 1"):
        extract_activations(adapter, sequences, 0, tmp_path, also_layers=[2])


def test_a_layer_that_is_stored_is_not_computed_again_for_another(store, adapter, sequences, tmp_path):
    before = adapter.n_forward
    settings = {"tokens_per_batch": 64, "tokens_per_shard": 100}
    again = extract_activations(adapter, sequences, 0, tmp_path, "float32", also_layers=[1], **settings)
    assert adapter.n_forward > before and again.hash == store.hash
    assert len([path for path in tmp_path.iterdir() if (path / "manifest.json").exists()]) == 2
