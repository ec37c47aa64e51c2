"""The GPU kernels against dense products and dense autograd: on a GPU where there is one, else in the interpreter."""

from __future__ import annotations

from unittest.mock import Mock

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from biosae.ops import dispatch
from biosae.ops.dispatch import NARROW
from biosae.ops.support import Support
from biosae.saes.build import build
from biosae.saes.parts.selection import batch_top_k, top_k
from biosae.saes.preactivations import PreActivations
from biosae.training.settings import TrainerSettings
from biosae.training.train_state import TrainState

pytest.importorskip("triton")
from biosae.ops import triton_backend

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
D_IN, D_SAE, N_ROWS, K = 133, 40, 13, 17  # none a multiple of a block, K a block and a bit
NAMES = ("b_dec", "W_enc", "b_enc", "W_dec")


def random(*shape: int, seed: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(DEVICE, dtype)


@given(
    n_rows=st.integers(0, 6),
    n_features=st.integers(1, 40),
    width=st.sampled_from([1, 7, 127, 128, 129, 300]),
    share=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    dtype=st.sampled_from(NARROW),
    seed=st.integers(0, 1000),
)
@settings(max_examples=15, deadline=None)
def test_products_are_those_of_dense_matrices(n_rows, n_features, width, share, dtype, seed):
    mask = torch.rand(n_rows, n_features, generator=torch.Generator().manual_seed(seed)) < share
    support = Support.from_mask(mask.to(DEVICE))
    values = random(len(support.features), seed=seed)
    left, right = (random(n, width, seed=seed + 1, dtype=dtype) for n in (n_rows, n_features))
    written = torch.zeros(n_rows, n_features, dtype=torch.float64, device=DEVICE)
    written[support.rows, support.features] = values.double()

    sums = triton_backend.weighted_sums(values, support.features, support.row_offsets, right)
    products = triton_backend.dot_products(support, left, right)
    order = support.by_feature
    transposed = triton_backend.weighted_sums(values[order.entries], order.rows, order.offsets, left)

    # Inputs are exact in either type; sums of up to 300 float32 products of order one.
    tolerance = {"rtol": 1e-5, "atol": 1e-4, "check_dtype": False}
    assert {sums.dtype, products.dtype, transposed.dtype} == {torch.float32}
    torch.testing.assert_close(sums, written @ right.double(), **tolerance)
    torch.testing.assert_close(transposed, written.t() @ left.double(), **tolerance)
    expected = (left.double() @ right.double().t())[support.rows, support.features]
    torch.testing.assert_close(products, expected, **tolerance)


def test_sums_have_the_type_of_the_weights():
    support = Support.from_indices(torch.tensor([[0, 2]], device=DEVICE), 3)
    matrix = random(3, 5, seed=0, dtype=torch.bfloat16)
    weights = torch.ones(2, dtype=torch.bfloat16, device=DEVICE)
    sums = triton_backend.weighted_sums(weights, support.features, support.row_offsets, matrix)
    assert sums.dtype == torch.bfloat16
    # One step of the type: the interpreter cuts where a GPU rounds.
    torch.testing.assert_close(sums[0].float(), matrix[0].float() + matrix[2].float(), rtol=2**-7, atol=0)


def test_not_a_number_is_not_hidden():
    support = Support.from_indices(torch.tensor([[0, 2], [1, 0]], device=DEVICE), 3)
    matrix = random(3, 5, seed=0)
    matrix[2, 3] = float("nan")
    sums = triton_backend.weighted_sums(random(4, seed=1), support.features, support.row_offsets, matrix)
    products = triton_backend.dot_products(support, random(2, 5, seed=2), matrix)
    assert sums.isnan().nonzero().tolist() == [[0, 3]]
    assert products.isnan().tolist() == [False, True, False, False]


def leaves() -> dict[str, Tensor]:
    features = torch.nn.functional.normalize(random(D_SAE, D_IN, seed=0), dim=1)
    values = {
        "x": random(N_ROWS, D_IN, seed=1),
        "b_dec": 0.1 * random(D_IN, seed=2),
        "W_enc": features.clone().t(),
        "b_enc": 0.1 * random(D_SAE, seed=3),
        "W_dec": features,
    }
    return {name: value.requires_grad_(name != "x") for name, value in values.items()}


def outcome(select, precision: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
    """Dense codes, reconstruction and every gradient of a loss that uses both."""
    given = leaves()
    with torch.autocast(DEVICE, dtype=precision, enabled=precision != torch.float32):
        codes = select(PreActivations(given["x"], given["b_dec"], given["W_enc"], given["b_enc"]))
        reconstruction = codes.decode(given["W_dec"]) + given["b_dec"]
        loss = (given["x"] - reconstruction).square().mean() + 0.01 * codes.values.sum()
    gradients = torch.autograd.grad(loss, [given[name] for name in NAMES])
    return codes.dense().detach(), reconstruction.detach(), gradients


def dense_outcome(support: Tensor) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
    """The same by dense autograd, with the entries of a mask chosen."""
    given = leaves()
    codes = torch.relu((given["x"] - given["b_dec"]) @ given["W_enc"] + given["b_enc"]) * support
    reconstruction = codes @ given["W_dec"] + given["b_dec"]
    loss = (given["x"] - reconstruction).square().mean() + 0.01 * codes.sum()
    gradients = torch.autograd.grad(loss, [given[name] for name in NAMES])
    return codes.detach(), reconstruction.detach(), gradients


SELECTIONS = {"top_k": lambda pre: top_k(pre, K), "batch_top_k": lambda pre: batch_top_k(pre, K)}


# bf16 keeps 8 bits: 0.4 % of each number read, here against the largest of its matrix.
@pytest.mark.parametrize(("precision", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 0.02)])
@pytest.mark.parametrize("selection", SELECTIONS)
def test_a_step_with_the_kernels_equals_dense_autograd(selection, precision, tolerance, monkeypatch):
    monkeypatch.setitem(dispatch.READS, "triton", lambda tensor: True)
    codes, reconstruction, gradients = outcome(SELECTIONS[selection], precision)
    expected_codes, expected_reconstruction, expected_gradients = dense_outcome(codes > 0)
    found = {"codes": codes, "reconstruction": reconstruction, **dict(zip(NAMES, gradients, strict=True))}
    expected = (expected_codes, expected_reconstruction, *expected_gradients)
    for (name, mine), reference in zip(found.items(), expected, strict=True):
        assert mine.dtype == torch.float32, name
        scale = float(reference.abs().max())
        torch.testing.assert_close(mine, reference, rtol=0, atol=tolerance * scale, msg=lambda m, name=name: name + m)


VARIANTS = {
    "topk": {"k": 3},
    "matryoshka": {"k": 3, "group_fractions": [0.3, 0.7]},
    "jumprelu": {"target_l0": 3.0, "bandwidth": 0.1},  # narrow, so that few entries are in its window
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_training_with_the_kernels_ends_where_training_without_them_does(variant, monkeypatch):
    """Every fifth feature is dead, so that AuxK takes part."""
    x = random(10, 12, seed=5)

    def trained() -> dict[str, Tensor]:
        sae = build(variant, 12, 50, dict(VARIANTS[variant])).to(DEVICE)
        sae.fit_normaliser(x)
        learner = TrainState(sae, TrainerSettings(lr=1e-3), total_steps=3, total_tokens=30)
        learner.tokens_since_fired[::5] = 1000
        for _ in range(3):
            learner.step(x)
        return sae.state_dict()

    monkeypatch.setitem(dispatch.READS, "triton", lambda tensor: False)
    without = trained()
    monkeypatch.setitem(dispatch.READS, "triton", lambda tensor: True)
    products = [Mock(wraps=getattr(triton_backend, name)) for name in ("weighted_sums", "dot_products")]
    monkeypatch.setattr(triton_backend, "weighted_sums", products[0])
    monkeypatch.setattr(triton_backend, "dot_products", products[1])
    state = trained()
    assert all(product.called for product in products)
    for name, mine in state.items():
        # Three steps of at most 1e-3 each; Adam divides rounding by its size where a gradient is near zero.
        torch.testing.assert_close(mine, without[name], rtol=0, atol=1e-5, msg=name)


def check(matrix: torch.Tensor, k: int) -> None:
    """Values stand where the columns say, no column twice, and as a set they are those of a full sort."""
    values, columns = triton_backend.largest_in_rows(matrix, k)
    assert values.dtype == matrix.dtype
    assert torch.equal(matrix.gather(1, columns).nan_to_num(nan=1e4), values.nan_to_num(nan=1e4))
    assert all(len(set(row)) == k for row in columns.tolist())
    expected = matrix.float().sort(dim=1, descending=True).values[:, :k]
    found = values.float().sort(dim=1, descending=True).values
    torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)


@given(
    width=st.sampled_from([1, 7, 100, 1000, 1024, 4097]),
    dtype=st.sampled_from(NARROW),
    levels=st.sampled_from([1, 10, 10**6]),
    seed=st.integers(0, 1000),
    data=st.data(),
)
@settings(max_examples=25, deadline=None)
def test_it_finds_the_largest(width, dtype, levels, seed, data):
    """Also with many ties, and with fewer distinct values than k."""
    k = data.draw(st.integers(1, min(width, 70)))
    generator = torch.Generator().manual_seed(seed)
    matrix = torch.randint(-levels, levels, (3, width), generator=generator).to(DEVICE, dtype)
    assert triton_backend._has_room(width, k)
    check(matrix, k)


@pytest.mark.parametrize("dtype", NARROW)
def test_not_a_number_is_largest_and_infinities_have_their_place(dtype):
    matrix = torch.randn(3, 1024, generator=torch.Generator().manual_seed(0)).to(DEVICE, dtype)
    matrix[0, 3], matrix[0, 900], matrix[1, 1000] = float("nan"), -float("nan"), float("inf")
    matrix[2] = -float("inf")
    check(matrix, 8)


def test_every_size_of_a_dictionary_fits_with_a_usual_k():
    for width in (32, 1000, 36_864, 327_680, 10**6):
        assert triton_backend._has_room(width, min(64, width // 2))


def test_rows_without_room_are_left_to_torch():
    assert not triton_backend._has_room(10**6, 10_000)


def test_no_rows_have_no_largest():
    values, columns = triton_backend.largest_in_rows(torch.zeros(0, 20, device=DEVICE), 3)
    assert values.shape == columns.shape == (0, 3)
