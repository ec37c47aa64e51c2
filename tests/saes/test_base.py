from __future__ import annotations

import pytest
import torch

from biosae.errors import DataError
from biosae.saes.base import SAE
from biosae.saes.codes import Codes
from biosae.saes.variants.topk import TopK


@pytest.fixture
def sae(planted) -> SAE:
    sae = TopK(16, 48, k=4)
    sae.fit_normaliser(planted)
    return sae


def test_encode_and_decode_are_the_written_out_formula(sae, planted):
    with torch.no_grad():
        sae.b_enc.normal_(std=0.1)
        sae.b_dec.normal_(std=0.1)
    x = (planted - sae.input_mean) / sae.input_scale
    pre = (x - sae.b_dec) @ sae.W_enc + sae.b_enc
    cut = pre.sort(1, descending=True).values[:, 3:4]
    codes = torch.relu(pre) * (pre >= cut)
    out = (codes @ sae.W_dec + sae.b_dec) * sae.input_scale + sae.input_mean
    # float32 sums of 16 products of order one, times the input scale of about 10.
    torch.testing.assert_close(sae.encode(planted).dense(), codes, rtol=0, atol=1e-5)
    torch.testing.assert_close(sae(planted), out, rtol=0, atol=1e-4)


def test_training_and_inference_normalise_alike(sae, planted):
    """Training, encoding and the forward pass must not each normalise in their own way."""
    seen = [sae.training_forward(planted), sae.inference_forward(planted)]
    assert torch.equal(*[forward.x for forward in seen])
    assert torch.equal(sae.denormalise(seen[1].reconstruction), sae(planted))
    assert torch.equal(seen[1].codes.dense(), sae.encode(planted).dense())


def test_normalised_inputs_have_zero_mean_and_unit_mean_square_norm(sae, planted):
    x = sae.normalise(planted).double()
    assert x.mean(0).abs().max() < 1e-5
    assert x.square().sum(1).mean().item() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("d_in", [8, 256])
@pytest.mark.parametrize("scale", [1e-3, 1e4])
def test_losses_depend_neither_on_width_nor_on_scale(d_in, scale, start):
    """Reconstruction loss is 1 for the mean predictor; pre-activations have variance 1 / (3 d_in)."""
    generator = torch.Generator().manual_seed(9)
    x = scale * (torch.randn(4000, d_in, generator=generator) + 5)
    sae = TopK(d_in, 2 * d_in, k=2)
    sae.fit_normaliser(x)
    torch.nn.init.zeros_(sae.W_dec)
    forward = sae.training_forward(x)
    assert sae.losses(forward, start(sae.d_sae))["reconstruction"].item() == pytest.approx(1, abs=1e-4)
    # 4,000 x 2 d_in draws that share the d_in directions: sampling error of a few percent.
    assert 3 * d_in * forward.pre.dense.var().item() == pytest.approx(1, abs=0.05)


def test_codes_do_not_change_with_the_hosts_units(planted):
    one, other = TopK(16, 48, k=4), TopK(16, 48, k=4)
    one.fit_normaliser(planted)
    other.fit_normaliser(1000 * planted + 7)
    # float32 rounding of 1000 x + 7 relative to the spread of x.
    torch.testing.assert_close(one.encode(planted).dense(), other.encode(1000 * planted + 7).dense(), rtol=0, atol=1e-4)


def test_initial_decoder_rows_are_unit_and_the_encoder_starts_along_them(sae):
    assert sae.W_dec.shape == (48, 16) and sae.W_enc.shape == (16, 48)
    torch.testing.assert_close(sae.W_dec.norm(dim=1), torch.ones(48))
    torch.testing.assert_close(sae.W_enc.t(), 3**-0.5 * sae.W_dec)


def test_seed_decides_the_initial_features():
    assert torch.equal(TopK(4, 8, k=1, seed=2).W_dec, TopK(4, 8, k=1, seed=2).W_dec)
    assert not torch.equal(TopK(4, 8, k=1, seed=2).W_dec, TopK(4, 8, k=1, seed=3).W_dec)


def test_construction_leaves_the_global_generator_alone():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    TopK(4, 8, k=1)
    assert torch.equal(torch.get_rng_state(), before)


def test_normalize_decoder_works_along_features(sae):
    """Along the wrong axis of (d_sae, d_in) the rows, which are the features, do not get unit norm."""
    with torch.no_grad():
        sae.W_dec.mul_(torch.linspace(0.5, 3, 48)[:, None])
    direction = torch.nn.functional.normalize(sae.W_dec.detach(), dim=1)
    sae.normalize_decoder()
    torch.testing.assert_close(sae.W_dec.norm(dim=1), torch.ones(48))
    torch.testing.assert_close(sae.W_dec.detach(), direction)


def test_projected_gradient_is_orthogonal_to_every_row(sae):
    sae.W_dec.grad = torch.randn(48, 16, generator=torch.Generator().manual_seed(0))
    removed = sae.W_dec.grad.clone()
    sae.project_decoder_gradient()
    assert (sae.W_dec.grad * sae.W_dec).sum(1).abs().max() < 1e-5  # gradient norms of 4 in float32
    removed -= sae.W_dec.grad
    along = (removed * sae.W_dec).sum(1, keepdim=True) * sae.W_dec
    torch.testing.assert_close(removed, along.detach(), rtol=0, atol=1e-6)


def test_decode_takes_edited_dense_codes(sae, planted):
    codes = sae.encode(planted)
    edited = codes.dense()
    edited[:, 3] += 2
    moved = sae.decode(Codes(edited)) - sae.decode(codes)
    torch.testing.assert_close(sae.decode(edited), sae.decode(Codes(edited)), rtol=0, atol=0)
    with pytest.raises(DataError, match=r"decode takes the Codes of encode, or dense ones .* got \(5, 3\)"):
        sae.decode(torch.zeros(5, 3))
    expected = 2 * sae.W_dec[3].detach() * sae.input_scale
    torch.testing.assert_close(moved, expected.expand_as(moved), rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (lambda x: x.tolist(), "must be a torch tensor or an array, got list: torch.as_tensor"),
        (lambda x: x.to("meta"), "are on meta, the SAE on cpu: x.to"),
        (lambda x: x.double(), r"are torch.float64, the SAE torch.float32: x.to\(torch.float32\)"),
    ],
)
def test_activations_of_another_kind_are_told_how_to_convert(sae, planted, given, says):
    for read in (sae.encode, sae):
        with pytest.raises(DataError, match=says):
            read(given(planted))


def test_activations_of_less_precision_are_read(sae, planted):
    torch.testing.assert_close(sae.encode(planted.half()).dense(), sae.encode(planted.half().float()).dense())
    assert torch.equal(sae.double()(planted), sae(planted.double()))


@pytest.mark.parametrize("shape", [(16,), (2, 3, 16), (4, 15), (0, 16)])
def test_only_rows_of_tokens_are_learned_from(sae, shape):
    """With (batch, length, width) a budget of k times the first axis would leave k / length features per token."""
    for call in (sae.training_forward, sae.fit_normaliser):
        with pytest.raises(DataError, match=r"\(n_tokens, d_in=16\) with at least one token"):
            call(torch.zeros(shape))


@pytest.mark.parametrize("shape", [(4, 15), (0, 16), (2, 0, 16)])
def test_only_activations_of_its_width_are_encoded(sae, shape):
    with pytest.raises(DataError, match=r"\(n_tokens, d_in=16\) with at least one token"):
        sae.encode(torch.zeros(shape))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_broken_activations_are_refused_before_training(sae, planted, value):
    planted[3, 2] = value
    with pytest.raises(DataError, match="NaN or infinite"):
        sae.fit_normaliser(planted)


def test_constant_activations_are_refused(sae):
    with pytest.raises(DataError, match="equal"):
        sae.fit_normaliser(torch.full((5, 16), 3.0))
