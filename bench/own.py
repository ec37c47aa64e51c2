"""One full training step of ours, and of dense autograd as most people would write it."""

from __future__ import annotations

import torch
from case import GROUPS, Case, Contestant, active_bias, kill
from torch import Tensor

from biosae.saes.build import build
from biosae.training.settings import TrainerSettings
from biosae.training.train_state import TrainState


def biosae(case: Case) -> Contestant:
    target, hyperparams = {
        "topk": ("topk", {"k": case.k}),
        "topk-auxk": ("topk", {"k": case.k}),
        "batchtopk": ("batchtopk", {"k": round(case.turned(case.k))}),
        "matryoshka": ("matryoshka", {"k": round(case.turned(case.k)), "group_fractions": GROUPS}),
        "relu": ("standard", {"l1_coefficient": case.turned(1e-3)}),
        "relu-april": ("standard", {"l1_coefficient": case.turned(1e-3), "weigh_by_decoder_norm": True}),
        "jumprelu": (
            "jumprelu",
            {"target_l0": case.turned(float(case.k)), "bandwidth": 0.5 if case.trains else 0.05},
        ),
        "gated": ("gated", {"l1_coefficient": case.turned(1e-3)}),
        "panneal": ("panneal", {"sparsity_coefficient": case.turned(1e-3)}),
        "gatedanneal": ("gatedanneal", {"sparsity_coefficient": case.turned(1e-3)}),
    }[case.variant]
    sae = build(target, case.d_in, case.d_sae, hyperparams, case.seed).to(case.device)
    sae.fit_normaliser(case.sample)
    with torch.no_grad():
        if case.variant in ("relu", "gated") and not case.trains:
            sae.b_enc -= active_bias(sae.normalise(case.sample[:512]) @ sae.W_enc, case.k)
    kill(sae.b_enc, case, sae.init_std)
    warmup = 0.05 if case.trains else 0.0
    settings = TrainerSettings(lr=case.lr, warmup_fraction=warmup, precision=case.precision)
    learner = TrainState(sae, settings, case.total_steps, case.total_steps * case.batch)

    def step(x: Tensor) -> float:
        if case.n_dead:
            learner.tokens_since_fired[: case.n_dead] = case.total_steps * case.batch
        learner.step(x)
        return learner.metrics()["loss"]

    def infer(x: Tensor) -> tuple[Tensor, Tensor]:
        codes = sae.encode(x)
        return codes.dense(), sae.decode(codes)

    return Contestant(step, infer, lambda: sae.W_dec.detach())


def plain(case: Case) -> Contestant:
    """Dense autograd and torch's Adam as most people would write it; the yardstick."""
    parameters = parameters_of(case)
    W_enc, b_enc, W_dec, b_dec, *own = parameters
    optimizer = torch.optim.Adam(parameters, lr=case.lr)
    cuts = [int(case.d_sae * sum(GROUPS[: i + 1])) for i in range(len(GROUPS))]

    @case.autocast()
    def loss_of(x: Tensor) -> Tensor:
        linear = (x - b_dec) @ W_enc.t()
        pre, extra = linear + b_enc, 0.0
        if case.variant.startswith("topk"):
            values, indices = torch.relu(pre).topk(case.k, sorted=False)
            codes = torch.zeros_like(pre).scatter(1, indices, values)
        elif case.variant in ("batchtopk", "matryoshka"):
            flat = torch.relu(pre).flatten()
            values, indices = flat.topk(case.k * len(x), sorted=False)
            codes = torch.zeros_like(flat).scatter(0, indices, values).view_as(pre)
        elif case.variant == "relu":
            codes = torch.relu(pre)
            extra = 1e-3 * codes.sum(1).mean()
        elif case.variant == "jumprelu":
            (threshold,) = own
            window = ((pre - threshold).abs() < 0.025) / 0.05
            slope = window.detach() * (threshold.detach() - threshold)
            codes = pre * (pre > threshold) + threshold.detach() * slope
            extra = 1e-3 * ((pre > threshold) + slope).sum(1).mean()
        else:
            r_mag, b_mag = own
            codes = (pre > 0) * torch.relu(r_mag.exp() * linear + b_mag)
            gate = torch.relu(pre)
            through = gate @ W_dec.detach() + b_dec.detach()
            extra = 1e-3 * gate.sum(1).mean() + (x - through).square().sum(1).mean()
        if case.variant == "matryoshka":
            loss, reconstruction, start = 0.0, b_dec, 0
            for stop in cuts:
                reconstruction = codes[:, start:stop] @ W_dec[start:stop] + reconstruction
                loss, start = loss + (x - reconstruction).square().sum(1).mean() / len(cuts), stop
        else:
            reconstruction = codes @ W_dec + b_dec
            loss = (x - reconstruction).square().sum(1).mean() + extra
        if case.n_dead:
            n_aux = min(case.d_in // 2, case.n_dead)
            values, indices = torch.relu(pre[:, : case.n_dead]).topk(n_aux, sorted=False)
            aux = values.new_zeros(len(x), case.n_dead).scatter(1, indices, values) @ W_dec[: case.n_dead]
            loss = loss + (aux - (x - reconstruction).detach()).square().sum(1).mean() / 32
        return loss

    def step(x: Tensor) -> float:
        loss = loss_of(x)
        optimizer.zero_grad()
        loss.backward()
        with torch.no_grad():
            W_dec.grad -= (W_dec.grad * W_dec).sum(1, keepdim=True) * W_dec
            optimizer.step()
            W_dec.div_(W_dec.norm(dim=1, keepdim=True))
        return loss.item()

    return Contestant(step, no_inference, lambda: W_dec.detach())


def parameters_of(case: Case) -> list[torch.nn.Parameter]:
    """The encoder's weights and bias, the decoder's, and those that JumpReLU or the gated form has besides."""
    torch.manual_seed(case.seed)
    features = torch.nn.functional.normalize(torch.randn(case.d_sae, case.d_in, device=case.device), dim=1)
    W_dec = torch.nn.Parameter(features)
    W_enc = torch.nn.Parameter(W_dec.detach().clone())
    b_enc, b_dec = torch.nn.Parameter(features.new_zeros(case.d_sae)), torch.nn.Parameter(case.sample.mean(0))
    own = []
    if case.variant in ("relu", "gated", "jumprelu"):
        bias = active_bias((case.sample[:512] - b_dec.detach()) @ W_enc.detach().t(), case.k)
        if case.variant == "jumprelu":
            own = [torch.nn.Parameter(torch.full_like(b_enc, float(bias)))]
        else:
            b_enc.data -= bias
    if case.variant == "gated":
        own = [torch.nn.Parameter(torch.zeros_like(b_enc)) for _ in range(2)]
    kill(b_enc, case)
    return [W_enc, b_enc, W_dec, b_dec, *own]


def no_inference(x: Tensor) -> tuple[Tensor, Tensor]:
    raise NotImplementedError("the yardstick is for speed only")
