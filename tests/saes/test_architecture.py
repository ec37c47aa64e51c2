"""The options of every variant, each against its definition written out."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml

import biosae.cli.config
from biosae.errors import DataError, SettingError
from biosae.saes.architecture import Architecture
from biosae.saes.build import build
from biosae.saes.files import load, save
from biosae.saes.forward import Progress
from biosae.saes.variants.standard import Standard
from biosae.saes.variants.topk import TopK

FOLDER = Path(biosae.cli.config.__file__).parent / "sae"
NAMES = sorted(path.stem for path in FOLDER.glob("*.yaml"))
OPTIONS = {
    "layer_norm": Architecture(layer_norm=True),
    "tied": Architecture(tied_decoder=True),
    "kaiming": Architecture(encoder_init="kaiming_uniform"),
    "free": Architecture(decoder_norm="free"),
    "token": Architecture(loss_unit="token"),
    "all": Architecture(True, True, "kaiming_uniform", "unit_at_start", "token"),
}


def make(name: str, architecture: Architecture):
    content = yaml.safe_load((FOLDER / f"{name}.yaml").read_text())
    hyperparams = {key: value for key, value in content["hyperparams"].items() if key != "lr"}
    hyperparams |= {key: 3 for key in ("k", "target_l0") if key in hyperparams}
    return build(content["variant"], 16, 48, hyperparams, 0, architecture)


def step(sae, optimizer, x, number, total) -> float:
    forward = sae.training_forward(x)
    progress = Progress(number, total, torch.zeros(sae.d_sae, dtype=torch.bool))
    loss = sum(sae.losses(forward, progress).values())
    optimizer.zero_grad()
    loss.backward()
    sae.project_decoder_gradient()
    optimizer.step()
    sae.normalize_decoder()
    with torch.no_grad():
        sae.after_step(forward, progress)
    return loss.item()


def share_left_over(sae, x) -> float:
    return ((x - sae(x)).square().sum() / (x - x.mean(0)).square().sum()).item()


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("name", NAMES)
def test_every_variant_learns_with_every_option_and_is_saved_with_it(name, option, planted, tmp_path):
    sae = make(name, OPTIONS[option])
    sae.fit_normaliser(planted)
    optimizer = torch.optim.Adam(sae.parameters(), lr=1e-2)
    before = share_left_over(sae, planted)
    for number in range(100):
        step(sae, optimizer, planted, number, 100)
    assert share_left_over(sae, planted) < 0.5 * min(before, 1)
    save(sae, tmp_path)
    again = load(tmp_path)
    assert again.architecture == OPTIONS[option]
    assert torch.equal(again(planted), sae(planted))


def test_layer_norm_is_that_of_torch_and_is_undone(planted):
    sae = TopK(16, 48, k=4, architecture=Architecture(layer_norm=True))
    sae.fit_normaliser(planted)
    normed = torch.nn.functional.layer_norm(planted, (16,), eps=0)
    plain = TopK(16, 48, k=4)
    plain.fit_normaliser(normed)
    # float32 of numbers of order one; the reconstruction is then scaled by spreads of about 10.
    torch.testing.assert_close(sae.encode(planted).dense(), plain.encode(normed).dense(), rtol=0, atol=1e-5)
    spread, mean = torch.std_mean(planted, dim=1, keepdim=True, correction=0)
    torch.testing.assert_close(sae(planted), plain(normed) * spread + mean, rtol=0, atol=1e-3)
    torch.testing.assert_close(sae.denormalise(sae.normalise(planted), planted), planted, rtol=0, atol=1e-3)


@pytest.mark.parametrize("size", [1e-6, 1e6])
def test_layer_norm_is_undone_for_tokens_of_any_size(size, planted):
    """An epsilon added to the spread on the way in but not on the way out is 8 % off where tokens are small."""
    sae = TopK(16, 48, k=4, architecture=Architecture(layer_norm=True))
    x = size * planted
    sae.fit_normaliser(x)
    torch.testing.assert_close(sae.denormalise(sae.normalise(x), x), x, rtol=1e-4, atol=1e-5 * size)


def test_codes_with_layer_norm_ignore_each_tokens_own_scale_and_offset(planted):
    sae = TopK(16, 48, k=4, architecture=Architecture(layer_norm=True))
    sae.fit_normaliser(planted)
    scale = torch.linspace(0.1, 30, len(planted))[:, None]
    moved = sae.encode(scale * planted - 5 * scale).dense()
    torch.testing.assert_close(moved, sae.encode(planted).dense(), rtol=0, atol=1e-4)


def test_layer_norm_needs_the_activations_to_decode_and_cannot_be_folded(planted):
    sae = TopK(16, 48, k=4, architecture=Architecture(layer_norm=True))
    sae.fit_normaliser(planted)
    with pytest.raises(SettingError, match=r"decode\(codes, x\)"):
        sae.decode(sae.encode(planted))
    with pytest.raises(SettingError, match="cannot be folded"):
        sae.fold()


def test_a_constant_token_is_no_division_by_zero(planted):
    planted[7] = 3.0
    sae = TopK(16, 48, k=4, architecture=Architecture(layer_norm=True))
    sae.fit_normaliser(planted)
    assert torch.isfinite(sae(planted)).all()


def test_tied_decoder_is_one_parameter_that_learns_from_both_sides(planted):
    sae = TopK(16, 48, k=4, architecture=Architecture(tied_decoder=True))
    sae.fit_normaliser(planted)
    assert "W_enc" not in dict(sae.named_parameters()) and "W_enc" not in sae.state_dict()
    assert torch.equal(sae.W_enc, sae.W_dec.t())
    forward = sae.training_forward(planted)
    sae.losses(forward, Progress(0, 1, torch.zeros(48, dtype=torch.bool)))["reconstruction"].backward()
    weight = sae.W_dec.detach().clone().requires_grad_()
    x = sae.normalise(planted)
    mask = forward.codes.dense().detach() > 0
    codes = (x @ weight.t()) * mask
    (x - codes @ weight).square().sum(1).mean().backward()
    # float32 sums over 512 tokens.
    torch.testing.assert_close(sae.W_dec.grad, weight.grad, rtol=0, atol=1e-5)


def test_kaiming_uniform_is_the_start_of_a_linear_layer():
    sae = TopK(64, 512, k=4, architecture=Architecture(encoder_init="kaiming_uniform"))
    linear = torch.nn.Linear(64, 512)
    assert sae.W_enc.abs().max() <= 64**-0.5
    # 32,768 draws: the standard deviation is known to half a percent.
    assert sae.W_enc.std().item() == pytest.approx(linear.weight.std().item(), rel=0.02)
    assert sae.W_enc.norm(dim=0).mean().item() == pytest.approx(sae.architecture.encoder_norm, rel=0.02)
    assert not torch.allclose(torch.nn.functional.normalize(sae.W_enc, dim=0), sae.W_dec.t(), atol=0.1)


@pytest.mark.parametrize(
    ("decoder_norm", "at_start", "stays"),
    [("unit", 1.0, True), ("unit_at_start", 1.0, False), ("free", 3**-0.5, False)],
)
@pytest.mark.parametrize("tied", [False, True])
def test_decoder_norms(decoder_norm, at_start, stays, tied, planted):
    sae = TopK(16, 48, k=4, architecture=Architecture(tied_decoder=tied, decoder_norm=decoder_norm))
    sae.fit_normaliser(planted)
    torch.testing.assert_close(sae.W_dec.norm(dim=1), torch.full((48,), at_start))
    optimizer = torch.optim.Adam(sae.parameters(), lr=1e-2)
    for number in range(5):
        step(sae, optimizer, planted, number, 5)
    assert torch.allclose(sae.W_dec.norm(dim=1), torch.full((48,), at_start), atol=1e-5) == stays


def test_token_losses_are_nmse_and_l1_over_the_tokens_norm(planted):
    sae = Standard(16, 48, l1_coefficient=0.5, sparsity_warmup_fraction=0, architecture=Architecture(loss_unit="token"))
    sae.fit_normaliser(planted)
    losses = sae.losses(sae.training_forward(planted), Progress(0, 1, torch.zeros(48, dtype=torch.bool)))
    norm = planted.norm(dim=1)
    codes = sae.encode(planted).dense() * sae.input_scale  # in the host's units
    nmse = ((planted - sae(planted)).norm(dim=1) / norm).square().mean()
    assert losses["reconstruction"].item() == pytest.approx(nmse.item(), rel=1e-4)
    assert losses["l1"].item() == pytest.approx(0.5 * (codes.sum(1) / norm).mean().item(), rel=1e-4)


def test_token_losses_with_layer_norm_are_of_the_host_too(planted):
    sae = TopK(16, 48, k=4, architecture=Architecture(layer_norm=True, loss_unit="token"))
    sae.fit_normaliser(planted)
    losses = sae.losses(sae.training_forward(planted), Progress(0, 1, torch.zeros(48, dtype=torch.bool)))
    nmse = ((planted - sae(planted)).norm(dim=1) / planted.norm(dim=1)).square().mean()
    assert losses["reconstruction"].item() == pytest.approx(nmse.item(), rel=1e-4)


def test_a_zero_activation_has_no_nmse(planted):
    sae = TopK(16, 48, k=4, architecture=Architecture(loss_unit="token"))
    sae.fit_normaliser(planted)
    planted[3] = 0
    with pytest.raises(DataError, match="an activation is zero"):
        sae.training_forward(planted)


@pytest.mark.parametrize("wrong", [{"encoder_init": "kaiming"}, {"decoder_norm": "one"}, {"loss_unit": "nmse"}])
def test_unknown_options_are_named(wrong):
    ((name, value),) = wrong.items()
    with pytest.raises(SettingError, match=f"{name} must be .*, got {value}"):
        Architecture(**wrong)


def test_norms_cannot_move_into_a_tied_encoder():
    with pytest.raises(SettingError, match="untied"):
        Standard(16, 48, l1_coefficient=0.1, weigh_by_decoder_norm=True, architecture=Architecture(tied_decoder=True))
