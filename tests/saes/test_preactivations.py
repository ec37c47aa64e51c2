"""The sparse path against plain dense autograd: same entries, values, outputs and gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from biosae.ops.support import Support
from biosae.saes import preactivations
from biosae.saes.codes import Codes
from biosae.saes.parts.selection import above, batch_top_k, gumbel_top_k, positive, top_k
from biosae.saes.preactivations import PreActivations

D_IN, D_SAE, N_ROWS, K = 12, 320, 50, 6
NAMES = ("b_dec", "W_enc", "b_enc", "W_dec")


def leaves(dtype: torch.dtype, bias: float = -0.9) -> dict[str, Tensor]:
    """Parameters in the layout of the SAE; the bias leaves a few percent of the entries positive."""
    generator = torch.Generator().manual_seed(2)
    features = torch.nn.functional.normalize(torch.randn(D_SAE, D_IN, generator=generator), dim=1)
    values = {
        "x": torch.randn(N_ROWS, D_IN, generator=generator) * 0.5,
        "b_dec": 0.1 * torch.randn(D_IN, generator=generator),
        "W_enc": features.clone().t(),
        "b_enc": bias + 0.1 * torch.randn(D_SAE, generator=generator),
        "W_dec": features,
    }
    return {name: value.to(dtype).requires_grad_(name != "x") for name, value in values.items()}


def outcome(codes: Codes, given: dict[str, Tensor]) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Codes, reconstruction and every gradient of a loss that uses both."""
    reconstruction = codes.decode(given["W_dec"]) + given["b_dec"]
    loss = (given["x"] - reconstruction).square().sum() + 0.3 * (codes.values + 0.1).sqrt().sum()
    gradients = torch.autograd.grad(loss, [given[name] for name in NAMES])
    return codes.dense().detach(), reconstruction.detach(), dict(zip(NAMES, gradients, strict=True))


def by_sparse_path(select, dtype: torch.dtype):
    given = leaves(dtype)
    pre = PreActivations(given["x"], given["b_dec"], given["W_enc"], given["b_enc"])
    codes = select(pre)
    assert codes.support is not None
    assert "dense" not in vars(pre), "the sparse path built the whole matrix"
    return outcome(codes, given)


def by_dense_autograd(mask_of, dtype: torch.dtype):
    given = leaves(dtype)
    pre = (given["x"] - given["b_dec"]) @ given["W_enc"] + given["b_enc"]
    return outcome(Codes(torch.relu(pre) * mask_of(pre.detach())), given)


def row_mask(pre: Tensor) -> Tensor:
    return torch.zeros_like(pre, dtype=torch.bool).scatter(1, pre.topk(K).indices, True)


def batch_mask(pre: Tensor) -> Tensor:
    mask = torch.zeros(pre.numel(), dtype=torch.bool)
    mask[pre.flatten().topk(2 * N_ROWS).indices] = True
    return mask.view_as(pre)


THRESHOLD = torch.tensor(0.15)
CASES = {
    "positive": (positive, lambda pre: pre > 0),
    "top_k": (lambda pre: top_k(pre, K), row_mask),
    "batch_top_k": (lambda pre: batch_top_k(pre, 2), batch_mask),
    "above": (lambda pre: above(pre, THRESHOLD), lambda pre: pre > THRESHOLD),
}


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    """Seven rows a chunk, so that the last of 50 rows make an incomplete one."""
    monkeypatch.setattr(preactivations, "CHUNK_VALUES", 7 * D_SAE)
    monkeypatch.setattr(preactivations, "few_rows", lambda x: 1)


# Sums of at most a few hundred terms of order one: float64 leaves 1e-12, float32 1e-4.
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-4)])
@pytest.mark.parametrize("case", CASES)
def test_sparse_path_equals_dense_autograd(case, dtype, tolerance):
    select, mask_of = CASES[case]
    mine, reference = by_sparse_path(select, dtype), by_dense_autograd(mask_of, dtype)
    torch.testing.assert_close(mine[0], reference[0], rtol=0, atol=tolerance)
    torch.testing.assert_close(mine[1], reference[1], rtol=0, atol=tolerance)
    for name in NAMES:
        torch.testing.assert_close(mine[2][name], reference[2][name], rtol=0, atol=tolerance, msg=name)


@pytest.mark.parametrize("case", CASES)
def test_gradients_match_finite_differences(case):
    """In float64, with the support held fixed."""
    select, _ = CASES[case]
    given = leaves(torch.float64)

    def loss(*parameters: Tensor) -> Tensor:
        b_dec, W_enc, b_enc, W_dec = parameters
        codes = select(PreActivations(given["x"], b_dec, W_enc, b_enc))
        return (given["x"] - codes.decode(W_dec) - b_dec).square().sum() + codes.values.sum()

    parameters = [given[name] for name in NAMES]
    analytic = torch.autograd.grad(loss(*parameters), parameters)
    generator = torch.Generator().manual_seed(4)
    directions = [torch.randn(p.shape, generator=generator, dtype=p.dtype) for p in parameters]
    step = 1e-7  # small enough that no entry crosses its boundary
    with torch.no_grad():
        up = loss(*[p + step * v for p, v in zip(parameters, directions, strict=True)])
        down = loss(*[p - step * v for p, v in zip(parameters, directions, strict=True)])
    slope = sum((g * v).sum() for g, v in zip(analytic, directions, strict=True))
    torch.testing.assert_close(slope, (up - down) / (2 * step), rtol=1e-5, atol=1e-6)


def test_many_active_entries_fall_back_to_dense_products():
    given = leaves(torch.float64, bias=0.5)
    pre = PreActivations(given["x"], given["b_dec"], given["W_enc"], given["b_enc"])
    codes = positive(pre)
    assert codes.support is None
    expected = torch.relu((given["x"] - given["b_dec"]) @ given["W_enc"] + given["b_enc"])
    torch.testing.assert_close(codes.values, expected)


def test_fewer_positive_entries_than_the_budget_are_all_kept():
    given = leaves(torch.float32, bias=-1.6)
    pre = PreActivations(given["x"], given["b_dec"], given["W_enc"], given["b_enc"])
    codes = batch_top_k(pre, 10)
    assert 0 < len(codes.values) < 10 * N_ROWS
    dense = torch.relu((given["x"] - given["b_dec"]) @ given["W_enc"] + given["b_enc"])
    torch.testing.assert_close(codes.dense(), dense, rtol=0, atol=1e-6)


def test_a_batch_whose_strong_rows_escape_the_sample_is_still_exact():
    """The bound comes from every second row; here all large entries are in the others, and in reverse."""
    for strong in (0, 1):
        x = torch.zeros(128, D_IN)
        x[strong::2] = 5 * torch.randn(64, D_IN, generator=torch.Generator().manual_seed(0))
        given = leaves(torch.float32)
        pre = PreActivations(x, given["b_dec"].detach(), given["W_enc"].detach(), torch.zeros(D_SAE))
        codes = batch_top_k(pre, 3)
        dense = torch.relu(pre.dense)
        expected = dense.flatten().topk(3 * 128).values.sort().values
        torch.testing.assert_close(codes.values.sort().values, expected, rtol=0, atol=1e-5)


def test_columns_are_those_of_the_matrix():
    given = leaves(torch.float64)
    pre = PreActivations(given["x"], given["b_dec"], given["W_enc"], given["b_enc"])
    features = torch.tensor([3, 300, 17])
    torch.testing.assert_close(pre.of(features).dense, pre.dense[:, features])
    (one,) = torch.autograd.grad(pre.of(features).dense.square().sum(), given["W_enc"])
    (other,) = torch.autograd.grad(pre.dense[:, features].square().sum(), given["W_enc"])
    torch.testing.assert_close(one, other)


def test_not_a_number_reaches_codes_and_loss():
    """A broken weight must not be hidden by leaving entries out."""
    given = leaves(torch.float32)
    with torch.no_grad():
        given["W_enc"][:, 5] = float("nan")
    pre = PreActivations(given["x"], given["b_dec"], given["W_enc"], given["b_enc"])
    assert top_k(pre, K).values.isnan().any()


def test_gumbel_noise_is_drawn_by_seed_and_not_added_to_the_codes():
    given = leaves(torch.float32, bias=0.0)
    pre = PreActivations(given["x"], given["b_dec"], given["W_enc"], given["b_enc"])
    noise = torch.tensor(0.4)
    codes = gumbel_top_k(pre, K, noise, seed=1, temperature=0.4)
    assert (codes.l0() <= K).all()
    active = codes.dense() > 0
    torch.testing.assert_close(codes.dense()[active], pre.dense[active], rtol=0, atol=1e-6)
    torch.testing.assert_close(codes.dense(), gumbel_top_k(pre, K, noise, seed=1).dense())
    assert not torch.equal(codes.dense(), gumbel_top_k(pre, K, noise, seed=2).dense())
    assert not torch.equal(codes.dense(), top_k(pre, K).dense())


def test_gumbel_noise_samples_in_proportion_to_the_exponential():
    """For k = 1 the chosen entry follows softmax(pre / noise): the Gumbel-max identity."""
    logits = torch.tensor([0.2, 1.0, 0.6])
    zeros = torch.zeros(3)
    pre = PreActivations(logits.expand(20_000, 3).contiguous(), zeros, torch.eye(3), zeros)
    codes = gumbel_top_k(pre, 1, torch.tensor(0.5), seed=0)
    shares = codes.firing_counts() / 20_000
    # Binomial standard error 0.0035, four of them.
    torch.testing.assert_close(shares, torch.softmax(logits / 0.5, 0), rtol=0, atol=0.014)


def test_gumbel_gradient_is_straight_through_for_the_candidates():
    """Against the same surrogate written densely in float64."""
    given = leaves(torch.float64, bias=0.0)
    pre = PreActivations(given["x"], given["b_dec"], given["W_enc"], given["b_enc"])
    noise = torch.tensor(0.4, dtype=torch.float64)
    codes = gumbel_top_k(pre, K, noise, seed=1, temperature=0.7)
    weight = torch.linspace(0.5, 1.5, len(codes.values), dtype=torch.float64)
    (mine,) = torch.autograd.grad((codes.values * weight).sum(), given["b_enc"])
    support: Support = codes.support
    dense = (given["x"] - given["b_dec"]) @ given["W_enc"] + given["b_enc"]
    values = dense[support.rows, support.features].view(N_ROWS, 2 * K)
    hard = (codes.values.view(N_ROWS, -1) > 0).double()
    generator = torch.Generator().manual_seed(1)
    drawn = torch.cat([
        torch.rand(len(rows), D_SAE, generator=generator, dtype=torch.float64) for rows in dense.split(7)
    ])  # fmt: skip
    noisy = dense - noise * torch.log(-torch.log(drawn.clamp(1e-20, 1 - 1e-7)))
    scores = noisy[support.rows, support.features].view(N_ROWS, 2 * K)
    boundary = scores.detach()[:, K - 1 : K + 1].mean(1, keepdim=True)
    soft = torch.sigmoid((scores - boundary) / 0.7)
    surrogate = torch.relu(values) * (hard + soft - soft.detach())
    (expected,) = torch.autograd.grad((surrogate.view(-1) * weight).sum(), given["b_enc"])
    torch.testing.assert_close(mine, expected, rtol=0, atol=1e-10)


def test_gumbel_relaxed_gradient_is_that_of_finite_differences():
    """The slope of the soft choice times the code, plus that of the chosen codes, differentiated by small steps."""
    given = leaves(torch.float64, bias=0.0)
    noise, temperature, size = torch.tensor(0.4, dtype=torch.float64), 0.7, 1e-6
    pre = PreActivations(given["x"], given["b_dec"], given["W_enc"], given["b_enc"])
    codes = gumbel_top_k(pre, K, noise, seed=1, temperature=temperature)
    weight = torch.linspace(0.5, 1.5, len(codes.values), dtype=torch.float64)
    mine = torch.autograd.grad((codes.values * weight).sum(), (given["W_enc"], given["b_enc"]))
    support = codes.support
    moved = {name: value.detach().clone() for name, value in given.items()}

    def scores() -> Tensor:
        dense = (moved["x"] - moved["b_dec"]) @ moved["W_enc"] + moved["b_enc"]
        return dense[support.rows, support.features].view(N_ROWS, 2 * K)

    generator = torch.Generator().manual_seed(1)
    drawn = torch.rand(N_ROWS, D_SAE, generator=generator, dtype=torch.float64)
    gumbel = -noise * torch.log(-torch.log(drawn))[support.rows, support.features].view(N_ROWS, 2 * K)
    before = scores()
    is_chosen = torch.arange(2 * K) < K  # candidates come in the order of their noisy scores
    boundary = (before + gumbel)[:, K - 1 : K + 1].mean(1, keepdim=True)

    def surrogate() -> Tensor:
        soft = torch.sigmoid((scores() + gumbel - boundary) / temperature)
        return ((scores().relu() * is_chosen + before.relu() * soft).view(-1) * weight).sum()

    feature = int(support.features.bincount().argmax())
    for name, at, gradient in (("W_enc", (3, feature), mine[0]), ("b_enc", (feature,), mine[1])):
        moved[name][at] += size
        above = surrogate()
        moved[name][at] -= 2 * size
        slope = (above - surrogate()) / (2 * size)
        moved[name][at] += size
        # Central differences of float64: an error of the square of the step, and rounding over the step.
        assert gradient[at].item() == pytest.approx(slope.item(), rel=1e-5), name


def test_gumbel_without_relaxation_is_differentiated_as_the_entries_it_chose():
    given = leaves(torch.float64, bias=0.0)
    pre = PreActivations(given["x"], given["b_dec"], given["W_enc"], given["b_enc"])
    codes = gumbel_top_k(pre, K, torch.tensor(0.4, dtype=torch.float64), seed=1)
    weight = torch.linspace(0.5, 1.5, len(codes.values), dtype=torch.float64)
    (mine,) = torch.autograd.grad((codes.values * weight).sum(), given["W_enc"])
    dense = (given["x"] - given["b_dec"]) @ given["W_enc"] + given["b_enc"]
    chosen = torch.relu(dense[codes.support.rows, codes.support.features])
    (expected,) = torch.autograd.grad((chosen * weight).sum(), given["W_enc"])
    torch.testing.assert_close(mine, expected, rtol=0, atol=1e-10)
