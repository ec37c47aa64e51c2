from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from biosae.errors import SettingError
from biosae.ops.support import Support
from biosae.saes.architecture import Architecture
from biosae.saes.codes import Codes
from biosae.saes.parts.nested import decoded_groups, prefix_widths
from biosae.saes.variants.matryoshka import Matryoshka


@pytest.mark.parametrize("loss_unit", ["dataset", "token"])
def test_loss_is_the_mean_over_prefixes_decoded_one_by_one(loss_unit, planted):
    """Weighting by 1/G and then averaging over groups would give 1/G squared. The gradients agree, too."""
    sae = Matryoshka(16, 48, k=4, group_fractions=[0.25, 0.25, 0.5], architecture=Architecture(loss_unit=loss_unit))
    sae.double().fit_normaliser(planted)
    forward = sae.training_forward(planted.double())
    codes = forward.codes.dense()
    outs = [codes[:, :width] @ sae.W_dec[:width] + sae.b_dec for width in (12, 24, 48)]
    one_by_one = sum(map(forward.error, outs)) / 3
    loss, parameters = sae.reconstruction_loss(forward), list(sae.parameters())
    torch.testing.assert_close(loss, one_by_one)
    expected = torch.autograd.grad(one_by_one, parameters, retain_graph=True)
    torch.testing.assert_close(torch.autograd.grad(loss, parameters, retain_graph=True), expected)
    torch.testing.assert_close(forward.residual, (forward.x - outs[-1]).detach())
    in_dense_codes = sae.reconstruction_loss(replace(forward, codes=Codes(codes)))
    torch.testing.assert_close(in_dense_codes, one_by_one)
    torch.testing.assert_close(torch.autograd.grad(in_dense_codes, parameters), expected)


@pytest.mark.parametrize("fractions", [[1.0], [0.25, 0.75], [0.125] * 8])
def test_the_mean_predictors_loss_is_one_whatever_the_number_of_groups(fractions, planted):
    """A loss that grows or shrinks with the groups shifts the balance to AuxK and learning rate."""
    sae = Matryoshka(16, 48, k=4, group_fractions=fractions)
    sae.double().fit_normaliser(planted)
    torch.nn.init.zeros_(sae.W_dec)
    # The normaliser is a buffer of float32 precision.
    assert sae.reconstruction_loss(sae.training_forward(planted.double())).item() == pytest.approx(1, abs=1e-6)


def test_groups_of_codes_in_any_order_and_of_dense_ones_decode_alike():
    generator = torch.Generator().manual_seed(0)
    W_dec = torch.randn(12, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    indices = torch.stack([torch.randperm(12, generator=generator)[:5] for _ in range(6)])
    values = torch.rand(30, generator=generator, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(6, 4, generator=generator, dtype=torch.float64)
    sparse = Codes(values, Support.from_indices(indices, 12))
    outcomes = []
    for codes in (sparse, Codes(sparse.dense())):
        groups = decoded_groups(codes, [3, 4, 12], W_dec).unbind(1)
        loss = sum((number + 1) * (weight * group).square().sum() for number, group in enumerate(groups))
        outcomes.append((*groups, *torch.autograd.grad(loss, [values, W_dec], retain_graph=True)))
    for one, other in zip(*outcomes, strict=True):
        torch.testing.assert_close(one, other)


def test_widths_are_cumulative():
    assert prefix_widths([1 / 32, 1 / 32, 1 / 16, 7 / 8], 1024) == [32, 64, 128, 1024]


@pytest.mark.parametrize(
    "fractions",
    [[], [0.5, 0.4], [0.5, 0.6], [1.5, -0.5], [0.0, 1.0], [0.5, float("nan")], [0.5, "0.5"], 0.5, "1", None],
)
def test_fractions_must_be_positive_and_sum_to_one(fractions):
    with pytest.raises(SettingError, match="positive and sum to 1"):
        Matryoshka(16, 48, k=4, group_fractions=fractions)


def test_empty_groups_are_refused():
    with pytest.raises(SettingError, match="leave a group of d_sae=8 features empty"):
        Matryoshka(4, 8, k=2, group_fractions=[0.01, 0.99])
