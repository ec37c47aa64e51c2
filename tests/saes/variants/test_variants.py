"""The contract of every variant: those of config/sae, and the one of docs/extending.md from outside the package."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path

import pytest
import torch
import yaml

import biosae.cli.config
from biosae.saes.base import SAE
from biosae.saes.build import build
from biosae.saes.files import load, save
from biosae.saes.forward import Progress

FOLDERS = [Path(biosae.cli.config.__file__).parent / "sae"]
NAMES = [*sorted(path.stem for path in FOLDERS[0].glob("*.yaml")), "groupmax"]
D_IN, D_SAE = 16, 48


@pytest.fixture(scope="module", autouse=True)
def folder_outside(groupmax) -> Iterator[None]:
    FOLDERS.append(groupmax / "sae")
    yield
    FOLDERS.pop()


def config(name: str) -> dict:
    path = next(folder / f"{name}.yaml" for folder in FOLDERS if (folder / f"{name}.yaml").exists())
    return yaml.safe_load(path.read_text())


def make(name: str, d_in: int = D_IN, d_sae: int = D_SAE, **changes) -> SAE:
    """The variant with its default settings, but a sparsity that fits 16 dimensions."""
    content = config(name)
    hyperparams = {key: value for key, value in content["hyperparams"].items() if key != "lr"}
    small = {"k": 3, "target_l0": 3}
    hyperparams |= {key: value for key, value in small.items() if key in hyperparams}
    return build(content["variant"], d_in, d_sae, hyperparams | changes)


def learn(sae: SAE, x: torch.Tensor, n_steps: int, start: int = 0, total_steps: int | None = None) -> list[float]:
    """Plain Adam steps on one batch as the trainer does them; the sum of losses at each."""
    optimizer = torch.optim.Adam(sae.parameters(), lr=1e-2)
    history = []
    for step in range(start, start + n_steps):
        progress = Progress(step, total_steps or n_steps, torch.zeros(sae.d_sae, dtype=torch.bool))
        forward = sae.training_forward(x)
        loss = sum(sae.losses(forward, progress).values())
        optimizer.zero_grad()
        loss.backward()
        sae.project_decoder_gradient()
        optimizer.step()
        sae.normalize_decoder()
        with torch.no_grad():
            sae.after_step(forward, progress)
        history.append(loss.item())
    return history


@pytest.fixture(params=NAMES)
def name(request) -> str:
    return request.param


@pytest.fixture
def trained(name, planted) -> SAE:
    sae = make(name)
    sae.fit_normaliser(planted)
    learn(sae, planted, 60)
    return sae


def test_yaml_holds_what_the_command_reads(name):
    content = config(name)
    assert set(content) == {"variant", "target_layer", "dictionary_multiplier", "hyperparams"}
    assert "lr" in content["hyperparams"]


@pytest.mark.parametrize(("d_in", "multiplier"), [(64, 0.5), (64, 64.0), (320, 8.0), (5120, 0.5)])
def test_defaults_build_and_step_on_small_and_wide_hosts(name, d_in, multiplier):
    content = config(name)
    hyperparams = {key: value for key, value in content["hyperparams"].items() if key != "lr"}
    sae = build(content["variant"], d_in, round(multiplier * d_in), hyperparams)
    x = torch.randn(64, d_in, generator=torch.Generator().manual_seed(1))
    sae.fit_normaliser(x)
    assert all(torch.isfinite(torch.tensor(learn(sae, x, 3))))


def test_seed_decides_the_initial_features(name):
    """A variant that ignores its seed has other features in every run."""
    weights = []
    for seed in (2, 2, 3):
        content = config(name)
        hyperparams = {key: value for key, value in content["hyperparams"].items() if key != "lr"}
        weights.append(build(content["variant"], 64, 128, hyperparams, seed).state_dict())
    assert all(torch.equal(tensor, weights[1][key]) for key, tensor in weights[0].items())
    for key in ("W_enc", "W_dec"):
        assert not torch.equal(weights[0][key], weights[2][key])


TAUGHT_ELSEWHERE = {"jumprelu": ("threshold",), "gated": ("W_dec", "b_dec"), "gatedanneal": ("W_dec", "b_dec")}
"""Parameters whose gradient is made up, or left out of a term, on purpose: test_straight_through.py, test_gate.py."""


def test_gradients_of_the_whole_objective_match_finite_differences(name, planted):
    """Along one random direction, in float64, with no feature dead, as AuxK's target is detached."""
    sae, progress = make(name), Progress(50, 100, torch.zeros(D_SAE, dtype=torch.bool))
    sae.double().fit_normaliser(planted)
    x, generator = planted[:100].double(), torch.Generator().manual_seed(0)
    taught = {key: p for key, p in sae.named_parameters() if key not in TAUGHT_ELSEWHERE.get(name, ())}
    with torch.no_grad():
        for parameter in (p for p in taught.values() if p.ndim == 1):
            parameter.add_(0.01 * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype))

    def objective() -> torch.Tensor:
        return sum(sae.losses(sae.training_forward(x), progress).values())

    gradients = torch.autograd.grad(objective(), list(taught.values()))
    directions = [torch.randn(p.shape, generator=generator, dtype=p.dtype) for p in taught.values()]
    size, values = 1e-7, []  # small enough that no entry crosses its boundary
    with torch.no_grad():
        for sign in (1, -2):
            for parameter, direction in zip(taught.values(), directions, strict=True):
                parameter.add_(sign * size * direction)
            values.append(objective().item())
    slope = sum((g * v).sum().item() for g, v in zip(gradients, directions, strict=True))
    assert slope == pytest.approx((values[0] - values[1]) / (2 * size), rel=1e-5)


def test_loss_falls(name, planted):
    sae = make(name)
    sae.fit_normaliser(planted)

    def reconstruction() -> float:
        forward = sae.training_forward(planted)
        return (forward.residual.square().sum() / len(planted)).item()

    before = reconstruction()
    learn(sae, planted, 150)
    assert reconstruction() < 0.5 * before


def test_codes_are_non_negative_and_sparse_enough(trained, planted):
    codes = trained.encode(planted)
    assert (codes.values >= 0).all()
    assert 0 < codes.l0().float().mean() < D_SAE / 2


def test_encode_is_row_wise(trained, planted):
    whole = trained.encode(planted).dense()
    order = torch.randperm(len(planted), generator=torch.Generator().manual_seed(0))
    shuffled = trained.encode(planted[order]).dense()
    alone = torch.cat([trained.encode(planted[i : i + 1]).dense() for i in range(20)])
    # The product of one row rounds otherwise than that of many: float32, sums of 16 terms below 1.
    torch.testing.assert_close(shuffled, whole[order], rtol=0, atol=1e-5)
    torch.testing.assert_close(alone, whole[:20], rtol=0, atol=1e-5)


def test_encode_is_deterministic(trained, planted):
    assert torch.equal(trained.encode(planted).dense(), trained.encode(planted).dense())


def test_losses_change_no_state(trained, planted):
    """Losses that update thresholds or counters change the model whenever somebody logs them."""
    before = deepcopy(trained.state_dict())
    progress = Progress(50, 100, torch.ones(D_SAE, dtype=torch.bool))
    first = trained.losses(trained.training_forward(planted), progress)
    second = trained.losses(trained.training_forward(planted), progress)
    assert all(torch.equal(first[key], second[key]) for key in first)
    trained.encode(planted)
    trained(planted)
    assert all(torch.equal(tensor, before[key]) for key, tensor in trained.state_dict().items())


def test_saved_and_loaded_variant_gives_the_same_bits(trained, planted, tmp_path):
    """Also thresholds, annealed powers and noise: a lost threshold makes codes dense."""
    save(trained, tmp_path)
    again = load(tmp_path)
    assert torch.equal(again.encode(planted).dense(), trained.encode(planted).dense())
    for key, tensor in trained.state_dict().items():
        assert torch.equal(again.state_dict()[key], tensor)
        assert again.state_dict()[key].dtype == tensor.dtype
    twin = deepcopy(again)
    assert learn(twin, planted, 3, start=60, total_steps=100) == learn(again, planted, 3, start=60, total_steps=100)


def test_decoder_rows_stay_unit(trained):
    torch.testing.assert_close(trained.W_dec.norm(dim=1), torch.ones(D_SAE))


def test_thresholds_are_float32_or_wider(trained):
    for key, tensor in trained.state_dict().items():
        if tensor.is_floating_point():
            assert tensor.dtype in (torch.float32, torch.float64), key


def test_every_parameter_gets_a_gradient(name, planted):
    sae = make(name)
    sae.fit_normaliser(planted)
    progress = Progress(50, 100, torch.ones(D_SAE, dtype=torch.bool))
    sum(sae.losses(sae.training_forward(planted), progress).values()).backward()
    for key, parameter in sae.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, key


def test_width_does_not_change_the_losses(name):
    """The same activations in a wider host (zero dimensions added) give the same losses."""
    if name in ("jumprelu", "gumbeltopk"):
        pytest.skip("window and noise follow the spread of a pre-activation, which the zero dimensions narrow")
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(200, 8, generator=generator)
    wide = torch.cat([x, torch.zeros(200, 24)], dim=1)
    small, large = make(name, d_in=8, d_sae=24), make(name, d_in=32, d_sae=24)
    with torch.no_grad():
        large.W_dec.zero_()[:, :8] = small.W_dec
        large.W_enc.zero_()[:8] = small.W_enc
    progress = Progress(50, 100, torch.zeros(24, dtype=torch.bool))
    losses = []
    for sae, data in ((small, x), (large, wide)):
        sae.fit_normaliser(data)
        losses.append({k: v.item() for k, v in sae.losses(sae.training_forward(data), progress).items()})
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_folded_copy_reads_and_writes_host_units_itself(trained, planted, tmp_path):
    """A scale that is folded in but still applied, or lost when saved, gives wrong activations."""
    folded = trained.fold()
    assert torch.equal(folded.input_mean, torch.zeros(D_IN)) and folded.input_scale == 1
    codes, plain = folded.encode(planted), trained.encode(planted)
    # float32 with activations of norm 40 around an offset of 11: codes of some tens, sums of 16 terms.
    torch.testing.assert_close(codes.dense(), plain.dense() * trained.input_scale, rtol=1e-4, atol=2e-4)
    torch.testing.assert_close(folded(planted), trained(planted), rtol=1e-4, atol=2e-4)
    save(folded, tmp_path)
    assert torch.equal(load(tmp_path)(planted), folded(planted))
    torch.testing.assert_close(folded.W_dec, trained.W_dec)


def test_the_noise_of_gumbel_topk_falls_over_its_steps_or_over_a_share_of_a_shorter_run():
    settings = {"k": 2, "tau_start": 1.0, "tau_end": 0.0, "anneal_steps": 100, "anneal_fraction": 0.5}
    for total_steps, n_annealed in ((200, 100), (100, 100), (40, 20)):
        sae = build("gumbeltopk", 4, 8, settings, seed=0)
        for step in range(n_annealed // 2):
            sae.after_step(None, Progress(step, total_steps, None))
        assert sae.tau.item() == pytest.approx(0.5)
