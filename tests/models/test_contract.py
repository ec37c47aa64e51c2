"""Promises of every adapter, whatever its model: those of the registry, and one of two files outside the package.

A loader that the environment variable ``BIOSAE_PLUGINS`` brings is tested as well, with a fixture ``tiny_<loader>``.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import anndata
import numpy as np
import pytest
import torch

from biosae.errors import BiosaeError, SettingError
from biosae.models.base import ModelAdapter
from biosae.models.cell_adapter import CellAdapter
from biosae.models.loaders import LOADERS
from biosae.models.tokens import pad_batch
from biosae.registry import load_plugins

# Padding and batch size change the order of float32 sums in attention and matrix products.
CLOSE = {"atol": 1e-5, "rtol": 1e-5}


load_plugins()
OF_THE_PAGE = "panel"  # docs/add-a-model.md
OF_BATCHES = "scgpt_of_batches"
MODELS = list(dict.fromkeys([*LOADERS.names(), OF_THE_PAGE, OF_BATCHES]))
CELL_MODELS = [name for name in MODELS if name != "esm2"]


def load(request, site: str = "residual") -> ModelAdapter:
    """The adapter of the parameter's model over a tiny random checkpoint."""
    checkpoint: Path = request.getfixturevalue(f"tiny_{request.param}")  # that of the page registers its loader
    if request.param == OF_BATCHES:
        return LOADERS.get("scgpt")(checkpoint, site=site, batch_key="donor")
    return LOADERS.get(request.param)(checkpoint, site=site)


@pytest.fixture(params=MODELS)
def adapter(request):
    """One adapter of each kind."""
    return load(request)


@pytest.fixture(params=MODELS)
def mlp_adapter(request):
    """The same, reading the output of the MLPs."""
    return load(request, site="mlp")


@pytest.fixture
def samples(adapter, cells, proteins):
    """Fourteen samples of different length for the adapter; the fourth is empty."""
    return cells if isinstance(adapter, CellAdapter) else proteins


@pytest.fixture
def sequences(adapter, samples):
    return adapter.tokenize(samples)


def padded(adapter, sequences, samples, extra=0):
    """One batch of the samples, with ``extra`` more padding than needed."""
    batch = pad_batch(sequences, np.asarray(samples), adapter.pad_token)
    wider = lambda t, fill: torch.nn.functional.pad(t, (0, extra), value=fill)  # noqa: E731
    return replace(
        batch,
        token=wider(batch.token, adapter.pad_token),
        value=wider(batch.value, 0.0),
        mask=wider(batch.mask, False),
        special=wider(batch.special, False),
    )


def n_hooks(adapter):
    return sum(len(module._forward_hooks) for module in adapter.network.modules())


@pytest.mark.parametrize("model", [name for name in MODELS if name != OF_BATCHES])
@pytest.mark.parametrize("argument", ["model_dir", "site", "random_init"])
def test_an_argument_at_fault_is_named_before_any_file_is_read(panel, model, argument):
    with pytest.raises(BiosaeError, match=rf"^{argument}\b") as raised:
        LOADERS.get(model)(**{"model_dir": "nowhere", argument: "nowhere"})
    assert raised.value.argument == argument


def test_empty_samples_keep_their_row(sequences):
    assert sequences.n_samples == 14
    assert sequences.lengths[3] == 0 and (np.delete(sequences.lengths, 3) > 0).all()


def test_vocabulary_and_names_cover_every_token(adapter, sequences):
    assert len(adapter.vocabulary) == len(adapter.token_names) > sequences.token.max()


def test_weights_are_frozen_and_in_eval_mode(adapter):
    assert not adapter.network.training
    assert not any(parameter.requires_grad for parameter in adapter.network.parameters())


def test_identity_edit_changes_no_bit(adapter, sequences):
    batch = padded(adapter, sequences, [0, 5, 13])
    for layer in range(adapter.n_layers):
        assert torch.equal(adapter.embed(batch, layer, lambda hidden: hidden.clone()), adapter.embed(batch))


def test_an_edit_of_any_layer_reaches_the_embedding(adapter, sequences):
    batch = padded(adapter, sequences, [0, 5, 13])
    for layer in range(adapter.n_layers):
        change = (adapter.embed(batch, layer, torch.zeros_like) - adapter.embed(batch)).norm(dim=1)
        assert (change > 1e-2).all(), f"layer {layer}"


def test_edits_see_content_tokens_only(adapter, sequences):
    batch = padded(adapter, sequences, [0, 5, 13], extra=3)
    seen = []
    adapter.embed(batch, 0, lambda hidden: seen.append(hidden.shape) or hidden)
    assert seen == [(int(batch.content.sum()), adapter.d_model)]


def test_activations_are_what_an_edit_sees(adapter, sequences):
    batch = padded(adapter, sequences, [1, 7])
    (hidden,) = adapter.activations(batch, [1])
    seen = []
    adapter.embed(batch, 1, lambda h: seen.append(h.clone()) or h)
    assert torch.equal(hidden[batch.content[batch.mask]], seen[0])


def test_padding_changes_nothing(adapter, sequences):
    tight, wide = padded(adapter, sequences, [0, 5, 13]), padded(adapter, sequences, [0, 5, 13], extra=9)
    for ours, theirs in zip(adapter.activations(tight, [0, -1]), adapter.activations(wide, [0, -1]), strict=True):
        torch.testing.assert_close(ours, theirs, **CLOSE)
    torch.testing.assert_close(adapter.embed(tight), adapter.embed(wide), **CLOSE)


def one(samples, row):
    if isinstance(samples, anndata.AnnData):
        return anndata.AnnData(samples.X[[row]], obs=samples.obs.iloc[[row]], var=samples.var)
    return type(samples)(ids=samples.ids[row : row + 1], sequences=samples.sequences[row : row + 1])


def rows_by_sample(adapter, sequences, samples, tokens_per_batch):
    rows = {}
    for batch in adapter.batches(sequences, samples, tokens_per_batch):
        (hidden,) = adapter.activations(batch, [-1])
        parts = hidden.split(batch.mask.sum(1).tolist())
        rows |= dict(zip(batch.sample.tolist(), parts, strict=True))
    return rows


@pytest.mark.parametrize("tokens_per_batch", [1, 60, 100_000])
def test_every_cell_is_in_its_place_whatever_order_and_batch(adapter, samples, sequences, tokens_per_batch):
    order = np.random.default_rng(0).permutation(14)
    rows = rows_by_sample(adapter, sequences, order, tokens_per_batch)
    assert sorted(rows) == [n for n in range(14) if n != 3]
    for sample, hidden in rows.items():
        (alone,) = adapter.activations(padded(adapter, adapter.tokenize(one(samples, sample)), [0]), [-1])
        torch.testing.assert_close(hidden, alone, **CLOSE)


@pytest.mark.parametrize("adapter", CELL_MODELS, indirect=True)
def test_order_of_genes_changes_nothing(adapter, cells, sequences):
    columns = np.random.default_rng(1).permutation(cells.n_vars)
    shuffled = adapter.tokenize(anndata.AnnData(cells.X[:, columns], obs=cells.obs, var=cells.var.iloc[columns]))
    np.testing.assert_array_equal(shuffled.token, sequences.token)
    np.testing.assert_array_equal(shuffled.value, sequences.value)


def test_one_pass_serves_all_layers(adapter, sequences):
    batch = padded(adapter, sequences, [0, 5, 13])
    together = adapter.activations(batch, [2, 0, -1, 1])
    assert torch.equal(together[0], together[2])
    for layer, hidden in zip([2, 0, 2, 1], together, strict=True):
        assert torch.equal(adapter.activations(batch, [layer])[0], hidden)


def test_the_forward_stops_at_the_last_layer_that_is_needed(adapter, sequences):
    ran = []
    handles = [
        adapter.site(layer).register_forward_hook(lambda *_, layer=layer: ran.append(layer))
        for layer in range(adapter.n_layers)
    ]
    adapter.activations(padded(adapter, sequences, [0, 5]), [1, 0])
    assert ran == [0, 1]
    for handle in handles:
        handle.remove()


def test_no_hook_outlives_a_call(adapter, sequences):
    batch = padded(adapter, sequences, [0, 5])
    before = n_hooks(adapter)
    adapter.activations(batch, [0])
    adapter.embed(batch, 0, lambda hidden: hidden)

    def failing(hidden):
        raise RuntimeError("edit failed")

    with pytest.raises(RuntimeError, match="edit failed"):
        adapter.embed(batch, 0, failing)
    assert n_hooks(adapter) == before


def edits():
    """Three edits that leave, shrink and shift activations."""
    return [lambda hidden: hidden, lambda hidden: 0.5 * hidden, lambda hidden: hidden + 1]


@pytest.mark.parametrize("extra", [0, 4])
def test_several_edits_of_a_batch_are_what_each_gives_alone(adapter, sequences, extra):
    batch = padded(adapter, sequences, [0, 5, 13], extra)
    for layer in range(adapter.n_layers):
        together = adapter.embed_each(batch, layer, edits())
        alone = [adapter.embed(batch, layer, edit) for edit in edits()]
        assert all(map(torch.equal, together, alone)), f"layer {layer}"
        assert torch.equal(together[0], adapter.embed(batch))


def test_several_edits_of_the_mlps_are_what_each_gives_alone(mlp_adapter, cells, proteins):
    sequences = mlp_adapter.tokenize(cells if isinstance(mlp_adapter, CellAdapter) else proteins)
    batch = padded(mlp_adapter, sequences, [0, 5, 13])
    alone = [mlp_adapter.embed(batch, 1, edit) for edit in edits()]
    assert all(map(torch.equal, mlp_adapter.embed_each(batch, 1, edits()), alone))


def test_several_edits_share_the_layers_below(adapter, sequences):
    ran = []
    inner = [next(adapter.site(layer).children()) for layer in range(adapter.n_layers)]
    handles = [
        module.register_forward_hook(lambda *_, layer=layer: ran.append(layer)) for layer, module in enumerate(inner)
    ]
    adapter.embed_each(padded(adapter, sequences, [0, 5]), 1, edits())
    for handle in handles:
        handle.remove()
    assert [ran.count(layer) for layer in range(3)] == [1, 1, len(edits())]


def test_sharing_ends_with_the_call(adapter, sequences):
    batches = [padded(adapter, sequences, rows) for rows in ([0, 5], [7, 13])]
    before = adapter.embed(batches[1])
    adapter.embed_each(batches[0], 1, edits())

    def failing(hidden):
        raise RuntimeError("edit failed")

    with pytest.raises(RuntimeError, match="edit failed"):
        adapter.embed_each(batches[0], 1, [failing])
    assert torch.equal(adapter.embed(batches[1]), before)
    assert not any("forward" in vars(module) for module in adapter.network.modules())


@pytest.mark.parametrize("layer", [3, -4])
def test_a_layer_out_of_range_says_the_range(adapter, sequences, layer):
    batch = padded(adapter, sequences, [0])
    with pytest.raises(SettingError, match="has layers 0 to 2"):
        adapter.activations(batch, [layer])
    with pytest.raises(SettingError, match="has layers 0 to 2"):
        adapter.embed(batch, layer, lambda hidden: hidden)


def test_the_mlp_is_a_site_of_its_own(mlp_adapter, cells, proteins):
    sequences = mlp_adapter.tokenize(cells if isinstance(mlp_adapter, CellAdapter) else proteins)
    batch = padded(mlp_adapter, sequences, [0, 5, 13])
    hidden = mlp_adapter.activations(batch, [0, 2])
    block = [module for module in mlp_adapter.network.modules() if isinstance(module, torch.nn.ModuleList)][-1]
    seen = []
    handle = block[2].register_forward_hook(lambda module, args, output: seen.append(output))
    unedited = mlp_adapter.embed(batch)
    handle.remove()
    assert torch.equal(mlp_adapter.embed(batch, 2, lambda h: h.clone()), unedited)
    assert (mlp_adapter.embed(batch, 2, torch.zeros_like) - unedited).abs().max() > 1e-3
    after = seen[0][0] if isinstance(seen[0], tuple) else seen[0]
    assert not torch.allclose(hidden[1], after[batch.mask], atol=1e-2)


def test_bfloat16_products_stay_close_and_come_out_as_float32(adapter, sequences):
    half = adapter.in_precision("bf16")
    assert half.in_precision("bf16") is half and adapter.in_precision("fp32") is adapter
    assert half.fingerprint != adapter.fingerprint
    batch = padded(adapter, sequences, [0, 5, 13])
    for ours, theirs in zip(half.activations(batch, range(3)), adapter.activations(batch, range(3)), strict=True):
        assert ours.dtype == torch.float32 and not torch.equal(ours, theirs)
        assert torch.nn.functional.cosine_similarity(ours, theirs, dim=-1).min() > 0.999
        assert (ours - theirs).norm() < 2e-2 * theirs.norm()
    seen = []
    edited = half.embed(
        batch, 1, lambda hidden: seen.append((hidden.dtype, torch.is_autocast_enabled("cpu"))) or hidden
    )
    assert seen == [(torch.float32, False)] and torch.equal(edited, half.embed(batch))
    with pytest.raises(SettingError, match="precision must be one of fp32, bf16, got fp8"):
        adapter.in_precision("fp8")
