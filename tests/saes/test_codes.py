from __future__ import annotations

import pytest
import scipy.sparse
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from biosae.ops.support import Support
from biosae.saes.codes import Codes


def sparse_and_dense(seed: int, n_rows: int, d_sae: int, k: int) -> tuple[Codes, torch.Tensor]:
    """k entries a row in random order, some of them zero, and the same matrix written out in a loop."""
    generator = torch.Generator().manual_seed(seed)
    indices = torch.rand(n_rows, d_sae, generator=generator).argsort(1)[:, :k]
    values = torch.relu(torch.randn(n_rows, k, generator=generator))
    written = torch.zeros(n_rows, d_sae)
    for row in range(n_rows):
        for column, value in zip(indices[row], values[row], strict=True):
            written[row, column] = value
    return Codes(values.reshape(-1), Support.from_indices(indices, d_sae)), written


@given(st.integers(0, 10_000), st.integers(1, 6), st.integers(1, 8), st.data())
@settings(max_examples=50, deadline=None)
def test_sparse_and_dense_storage_answer_alike(seed, n_rows, d_sae, data):
    k = data.draw(st.integers(1, d_sae))
    codes, written = sparse_and_dense(seed, n_rows, d_sae, k)
    plain = Codes(written)
    assert torch.equal(codes.dense(), written)
    assert torch.equal(codes.l0(), (written > 0).sum(1))
    assert torch.equal(codes.firing_counts(), (written > 0).sum(0))
    assert torch.equal(codes.csr().to_dense(), written)
    for mine, theirs in zip(codes.entries(), plain.entries(), strict=True):
        assert torch.equal(mine, theirs)
    assert torch.equal(plain.csr().to_dense(), written)
    assert torch.equal(plain.l0(), codes.l0())
    assert torch.equal(plain.firing_counts(), codes.firing_counts())


def test_csr_is_canonical_scipy():
    codes, written = sparse_and_dense(3, 5, 9, 4)
    csr = codes.csr()
    matrix = scipy.sparse.csr_matrix(
        (csr.values().numpy(), csr.col_indices().numpy(), csr.crow_indices().numpy()), shape=(5, 9)
    )
    assert matrix.has_canonical_format
    assert (matrix.toarray() == written.numpy()).all()
    assert matrix.nnz == int((written > 0).sum())


def test_supports_from_mask_indices_and_positions_agree():
    mask = torch.tensor([[True, False, True], [False, True, True]])
    by_mask = Support.from_mask(mask)
    by_indices = Support.from_indices(torch.tensor([[0, 2], [1, 2]]), 3)
    by_positions = Support.from_positions(torch.tensor([0, 2, 4, 5]), 2, 3)
    for other in (by_indices, by_positions):
        assert torch.equal(by_mask.row_offsets, other.row_offsets)
        assert torch.equal(by_mask.features, other.features)
    assert by_mask.rows.tolist() == [0, 0, 1, 1]


def test_rows_without_entries_are_kept():
    codes = Codes(torch.tensor([2.0]), Support.from_positions(torch.tensor([4]), 3, 3))
    assert codes.l0().tolist() == [0, 1, 0]
    assert codes.csr().crow_indices().tolist() == [0, 0, 1, 1]
    assert codes.dense().tolist() == [[0, 0, 0], [0, 2, 0], [0, 0, 0]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_decode_is_the_matrix_product_and_so_are_its_gradients(dtype):
    codes, written = sparse_and_dense(5, 6, 10, 3)
    weight = torch.randn(10, 4, generator=torch.Generator().manual_seed(0)).to(dtype).requires_grad_()
    values = codes.values.to(dtype).requires_grad_()
    out = Codes(values, codes.support).decode(weight)
    dense = written.to(dtype).requires_grad_()
    other = weight.detach().clone().requires_grad_()
    expected = dense @ other
    # Sums of three products: rounding of the type only.
    tolerance = {"rtol": 0, "atol": 10 * torch.finfo(dtype).eps}
    torch.testing.assert_close(out, expected, **tolerance)
    cotangent = torch.randn(out.shape, generator=torch.Generator().manual_seed(1)).to(dtype)
    out.backward(cotangent)
    expected.backward(cotangent)
    torch.testing.assert_close(weight.grad, other.grad, **tolerance)
    at_entries = dense.grad[codes.support.rows, codes.support.features]
    torch.testing.assert_close(values.grad, at_entries, **tolerance)
