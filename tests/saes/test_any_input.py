"""Encode, decode and edit take activations of any leading shape, tensors or arrays, and keep gradients."""

import pytest
import torch
from scipy import sparse

from biosae.errors import DataError, SettingError
from biosae.saes.build import build

VARIANTS = {
    "standard": {"l1_coefficient": 0.1},
    "topk": {"k": 4},
    "batchtopk": {"k": 4},
    "jumprelu": {"target_l0": 4},
    "gated": {"l1_coefficient": 0.1},
}


@pytest.fixture(params=VARIANTS)
def sae(request, x):
    sae = build(request.param, 8, 24, VARIANTS[request.param])
    sae.fit_normaliser(x)
    return sae.eval()


@pytest.fixture
def x():
    return torch.randn(30, 8, generator=torch.Generator().manual_seed(0)) + 1


def test_leading_shape_is_kept(sae, x):
    cube = x.view(5, 6, 8)
    codes = sae.encode(cube)
    assert codes.dense().shape == (5, 6, 24)
    torch.testing.assert_close(codes.dense().view(30, 24), sae.encode(x).dense(), rtol=0, atol=0)
    torch.testing.assert_close(sae.decode(codes), sae.decode(sae.encode(x)).view(5, 6, 8), rtol=0, atol=0)
    assert sae.encode(x[0]).dense().shape == (24,)
    assert sae.decode(sae.encode(x[0])).shape == (8,)


def test_arrays_and_sparse_codes_are_taken(sae, x):
    codes = sae.encode(x.numpy())
    expected = sae.decode(sae.encode(x))
    for given in (codes, codes.dense(), codes.dense().numpy(), sparse.csr_matrix(codes.dense().numpy()), codes.csr()):
        torch.testing.assert_close(sae.decode(given), expected, rtol=0, atol=1e-5)  # sums of floats in another order


def test_gradients_are_those_of_finite_differences(sae, x):
    sae, x = sae.double(), x[:3].double().requires_grad_()
    torch.autograd.gradcheck(lambda x: sae.decode(sae.encode(x)), x, eps=1e-7, atol=1e-4)


def test_gradients_reach_codes(sae, x):
    codes = sae.encode(x).dense().requires_grad_()
    sae.decode(codes).sum().backward()
    expected = (sae.input_scale * sae.W_dec.sum(1)).detach().expand_as(codes)
    torch.testing.assert_close(codes.grad, expected, rtol=0, atol=1e-5)


def test_without_gradients_nothing_is_kept(sae, x):
    assert not sae.encode(x).values.requires_grad
    assert not sae.decode(sae.encode(x)).requires_grad
    assert not sae.edit(x, ablate=[1]).requires_grad


def test_edit_changes_the_named_features_and_keeps_the_error(sae, x):
    dense = sae.encode(x).dense()
    first, second, third = dense.sum(0).argsort(descending=True)[:3].tolist()
    edited = dense.clone()
    edited[:, first], edited[:, second], edited[:, third] = 0, 2 * dense[:, second], 1.5
    expected = x + sae.decode(edited) - sae.decode(dense)
    found = sae.edit(x, ablate=[first], scale={f"f{second}": 2.0}, clamp={third: 1.5})
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(sae.edit(x.view(5, 6, 8), ablate=[first]), sae.edit(x, ablate=[first]).view(5, 6, 8))
    torch.testing.assert_close(sae.edit(x, add={first: 0.0}), x, rtol=0, atol=0)


@pytest.mark.parametrize("asked", [{"ablate": [24]}, {"ablate": ["g1"]}, {"ablate": [1], "scale": {"f1": 2.0}}])
def test_edits_that_make_no_sense_are_refused(sae, x, asked):
    with pytest.raises(SettingError) as caught:
        sae.edit(x, **asked)
    assert caught.value.argument == "feature"


def test_other_widths_are_refused(sae, x):
    with pytest.raises(DataError, match="d_in=8"):
        sae.encode(torch.zeros(2, 3, 5))
