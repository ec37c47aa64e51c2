"""One full training step of each library, the way its own trainer does it.

Every function takes a `Case` and gives a `Contestant`. A library that is not installed, or cannot do the variant,
raises; the benches report that as a result.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import sys
from collections.abc import Callable
from dataclasses import dataclass
from unittest.mock import MagicMock

import matplotlib
import matplotlib.cm
import torch
from torch import Tensor

from biosae.saes.build import build
from biosae.training.learner import Learner
from biosae.training.settings import TrainerSettings

Step = Callable[[Tensor], float]
GROUPS = (1 / 16, 1 / 8, 1 / 4, 9 / 16)
LONG = 10**9
KEPT_ROW_BY_ROW = ("jumprelu", "matryoshka")
"""Variants of dictionary_learning whose decoder is a ``W_dec`` of one row a feature, not a linear layer."""


@dataclass(frozen=True)
class Contestant:
    """An SAE in training: ``step(x)`` gives the loss, ``infer(x)`` dense codes and reconstruction."""

    step: Step
    infer: Callable[[Tensor], tuple[Tensor, Tensor]]
    dictionary: Callable[[], Tensor]


@dataclass(frozen=True)
class Case:
    """What is trained: sizes, the variant's name, a batch to start from, how many are dead, how long and how sparse."""

    variant: str
    d_in: int
    d_sae: int
    k: int
    batch: int
    sample: Tensor
    lr: float = 1e-4
    n_dead: int = 0
    seed: int = 0
    total_steps: int = 10**6
    knob: float | None = None

    @property
    def trains(self) -> bool:
        """Whether this is a run with an end, not only a step to be timed."""
        return self.total_steps < 10**6

    def turned(self, default: float) -> float:
        """What decides how sparse the codes become: a penalty, a number of features or a target for it."""
        return default if self.knob is None else self.knob

    def lr_share(self, step: int) -> float:
        """The learning rate's course, the same for all: up over 5 %, flat, down over the last fifth."""
        done = (step + 0.5) / self.total_steps
        return min(1.0, done / 0.05, (1 - done) / 0.2) if self.trains else 1.0


def unknown(library: str, case: Case) -> Exception:
    return NotImplementedError(f"{library} has no {case.variant}")


def biosae(case: Case) -> Contestant:
    target, hyperparams = {
        "topk": ("topk.TopK", {"k": case.k}),
        "topk-auxk": ("topk.TopK", {"k": case.k}),
        "batchtopk": ("batchtopk.BatchTopK", {"k": round(case.turned(case.k))}),
        "matryoshka": ("matryoshka.Matryoshka", {"k": round(case.turned(case.k)), "group_fractions": GROUPS}),
        "relu": ("standard.Standard", {"l1_coefficient": case.turned(1e-3)}),
        "relu-april": ("standard.Standard", {"l1_coefficient": case.turned(1e-3), "weigh_by_decoder_norm": True}),
        "jumprelu": (
            "jumprelu.JumpReLU",
            {"target_l0": case.turned(float(case.k)), "bandwidth": 0.5 if case.trains else 0.05},
        ),
        "gated": ("gated.Gated", {"l1_coefficient": case.turned(1e-3)}),
        "panneal": ("panneal.PAnneal", {"sparsity_coefficient": case.turned(1e-3)}),
        "gatedanneal": ("gatedanneal.GatedAnneal", {"sparsity_coefficient": case.turned(1e-3)}),
    }[case.variant]
    sae = build(f"biosae.saes.{target}", case.d_in, case.d_sae, hyperparams, case.seed)
    sae.fit_normaliser(case.sample)
    with torch.no_grad():
        if case.variant in ("relu", "gated") and not case.trains:
            sae.b_enc -= active_bias(sae.normalise(case.sample[:512]) @ sae.W_enc, case.k)
    kill(sae.b_enc, case, sae.fresh_spread)
    warmup = 0.05 if case.trains else 0.0
    settings = TrainerSettings(lr=case.lr, warmup_fraction=warmup)
    learner = Learner(sae, settings, case.total_steps, case.total_steps * case.batch)

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
    torch.manual_seed(case.seed)
    W_dec = torch.nn.Parameter(torch.nn.functional.normalize(torch.randn(case.d_sae, case.d_in), dim=1))
    W_enc = torch.nn.Parameter(W_dec.detach().clone())
    b_enc, b_dec = torch.nn.Parameter(torch.zeros(case.d_sae)), torch.nn.Parameter(case.sample.mean(0))
    parameters = [W_enc, b_enc, W_dec, b_dec]
    if case.variant in ("relu", "gated", "jumprelu"):
        bias = active_bias((case.sample[:512] - b_dec.detach()) @ W_enc.detach().t(), case.k)
        if case.variant == "jumprelu":
            threshold = torch.nn.Parameter(torch.full((case.d_sae,), float(bias)))
            parameters.append(threshold)
        else:
            b_enc.data -= bias
    if case.variant == "gated":
        r_mag, b_mag = (torch.nn.Parameter(torch.zeros(case.d_sae)) for _ in range(2))
        parameters += [r_mag, b_mag]
    kill(b_enc, case)
    optimizer = torch.optim.Adam(parameters, lr=case.lr)
    cuts = [int(case.d_sae * sum(GROUPS[: i + 1])) for i in range(len(GROUPS))]

    def step(x: Tensor) -> float:
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
            window = ((pre - threshold).abs() < 0.025) / 0.05
            slope = window.detach() * (threshold.detach() - threshold)
            codes = pre * (pre > threshold) + threshold.detach() * slope
            extra = 1e-3 * ((pre > threshold) + slope).sum(1).mean()
        else:
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
            aux = torch.zeros(len(x), case.n_dead).scatter(1, indices, values) @ W_dec[: case.n_dead]
            loss = loss + (aux - (x - reconstruction).detach()).square().sum(1).mean() / 32
        optimizer.zero_grad()
        loss.backward()
        with torch.no_grad():
            W_dec.grad -= (W_dec.grad * W_dec).sum(1, keepdim=True) * W_dec
            optimizer.step()
            W_dec.div_(W_dec.norm(dim=1, keepdim=True))
        return loss.item()

    return Contestant(step, no_inference, lambda: W_dec.detach())


def no_inference(x: Tensor) -> tuple[Tensor, Tensor]:
    raise NotImplementedError("the yardstick is for speed only")


def dictionary_learning(case: Case) -> Contestant:
    from dictionary_learning.trainers import (
        batch_top_k,
        gated_anneal,
        gdm,
        jumprelu,
        matryoshka_batch_top_k,
        p_anneal,
        standard,
        top_k,
    )  # fmt: skip

    n, penalty, k = case.total_steps, case.turned(0.1), round(case.turned(case.k))
    ramp = {"sparsity_warmup_steps": n // 20} if case.trains else {}
    average = {"threshold_start_step": n // 2} if case.trains else {}
    anneal = {"initial_sparsity_penalty": penalty, "anneal_start": n // 5, "p_end": 0.2, **ramp}
    groups = {"group_fractions": list(GROUPS)}
    kind, own = {
        "topk": (top_k.TopKTrainer, {"k": case.k, **average}),
        "topk-auxk": (top_k.TopKTrainer, {"k": case.k, **average}),
        "batchtopk": (batch_top_k.BatchTopKTrainer, {"k": k, **average}),
        "matryoshka": (matryoshka_batch_top_k.MatryoshkaBatchTopKTrainer, {"k": k, **groups, **average}),
        "relu": (standard.StandardTrainer, {"l1_penalty": penalty, **ramp}),
        "jumprelu": (jumprelu.JumpReluTrainer, {"target_l0": case.turned(20.0), **ramp}),
        "gated": (gdm.GatedSAETrainer, {"l1_penalty": penalty, **ramp}),
        "panneal": (p_anneal.PAnnealTrainer, anneal),
        "gatedanneal": (gated_anneal.GatedAnnealTrainer, anneal),
    }[case.variant]
    schedule = {"warmup_steps": n // 20, "decay_start": n * 4 // 5} if case.trains else {}
    trainer = kind(
        steps=n, activation_dim=case.d_in, dict_size=case.d_sae, layer=0, lm_name="none", device="cpu",
        lr=case.lr, seed=case.seed, **schedule, **own,
    )  # fmt: skip
    if case.n_dead:
        kill(trainer.ae.encoder.bias, case)
    count = iter(range(0 if case.trains else 1, LONG))  # step 0 sets the bias to the geometric median
    scale = case.sample.square().sum(1).mean().sqrt() if case.trains else 1.0  # as its trainSAE does by default

    def step(x: Tensor) -> float:
        if case.n_dead:
            trainer.num_tokens_since_fired[: case.n_dead] = LONG
        loss = trainer.update(next(count), x / scale)
        return float("nan") if loss is None else float(loss)  # some of its trainers return nothing

    def infer(x: Tensor) -> tuple[Tensor, Tensor]:
        codes = trainer.ae.encode(x / scale)
        return codes, trainer.ae.decode(codes) * scale

    def dictionary() -> Tensor:
        return trainer.ae.W_dec.detach() if case.variant in KEPT_ROW_BY_ROW else trainer.ae.decoder.weight.detach().t()

    return Contestant(step, infer, dictionary)


def sae_lens(case: Case) -> Contestant:
    import sae_lens as lens
    from sae_lens.config import LoggingConfig, SAETrainerConfig
    from sae_lens.training.sae_trainer import SAETrainer

    sizes = {"d_in": case.d_in, "d_sae": case.d_sae, "dtype": "float32", "device": "cpu"}
    widths = [int(case.d_sae * sum(GROUPS[: i + 1])) for i in range(len(GROUPS))]
    k, penalty = case.turned(case.k), case.turned(1e-3)
    n, n_ramp = case.total_steps, case.total_steps // 20 if case.trains else 0
    names = {
        "topk": ("TopK", {"k": case.k}),
        "topk-auxk": ("TopK", {"k": case.k}),
        "batchtopk": ("BatchTopK", {"k": k}),
        "matryoshka": ("MatryoshkaBatchTopK", {"k": k, "matryoshka_widths": widths}),
        "relu": ("Standard", {"l1_coefficient": penalty, "l1_warm_up_steps": n_ramp}),
        "jumprelu": ("JumpReLU", {"l0_coefficient": penalty, "l0_warm_up_steps": n_ramp}),
        "gated": ("Gated", {"l1_coefficient": penalty, "l1_warm_up_steps": n_ramp}),
    }
    if case.variant not in names:
        raise unknown("SAELens", case)
    name, own = names[case.variant]
    torch.manual_seed(case.seed)
    sae = getattr(lens, f"{name}TrainingSAE")(getattr(lens, f"{name}TrainingSAEConfig")(**sizes, **own))
    schedule = {"lr_warm_up_steps": n // 20, "lr_decay_steps": n // 5} if case.trains else {}
    scale = case.sample.square().sum(1).mean().div(case.d_in).sqrt() if case.trains else 1.0  # its E|x|^2 = d_in
    config = SAETrainerConfig(
        total_training_samples=case.total_steps * case.batch, train_batch_size_samples=case.batch, lr=case.lr,
        lr_end=0.0 if case.trains else case.lr, device="cpu", logger=LoggingConfig(log_to_wandb=False), **schedule,
    )  # fmt: skip
    trainer = SAETrainer(config, sae, iter(()))
    if case.n_dead:
        kill(trainer.sae.b_enc, case)

    def step(x: Tensor) -> float:
        if case.n_dead:
            trainer.n_forward_passes_since_fired[: case.n_dead] = LONG
        loss = trainer.step(x / scale).loss
        trainer.n_training_steps += 1
        return loss.item()

    def infer(x: Tensor) -> tuple[Tensor, Tensor]:
        threshold = getattr(trainer.sae, "topk_threshold", None)
        codes = trainer.sae.encode(x / scale)
        if threshold is not None:  # what its inference SAE, a JumpReLU, does with a BatchTopK
            codes = torch.relu(trainer.sae.encode_with_hidden_pre(x / scale)[1])
            codes = codes * (codes > threshold)
        return codes, trainer.sae.decode(codes) * scale

    return Contestant(step, infer, lambda: trainer.sae.W_dec.detach())


def sparsify(case: Case) -> Contestant:
    if not case.variant.startswith("topk"):
        raise unknown("sparsify", case)
    from sparsify import SparseCoderConfig
    from sparsify.sparse_coder import SparseCoder

    torch.manual_seed(case.seed)
    sae = SparseCoder(case.d_in, SparseCoderConfig(num_latents=case.d_sae, k=case.k), dtype=torch.float32)
    sae.b_dec.data = case.sample.mean(0)
    kill(sae.encoder.bias, case, 3**-0.5)
    optimizer = torch.optim.Adam(sae.parameters(), lr=case.lr)
    dead = torch.arange(case.d_sae) < case.n_dead if case.n_dead else None
    count = iter(range(LONG))

    def step(x: Tensor) -> float:
        optimizer.param_groups[0]["lr"] = case.lr * case.lr_share(next(count))
        sae.set_decoder_norm_to_unit_norm()
        out = sae(x, y=x, dead_mask=dead, total_variance=(x - x.mean(0)).square().sum())
        (out.fvu + out.auxk_loss / 32 if case.n_dead else out.fvu).backward()
        sae.remove_gradient_parallel_to_decoder_directions()
        optimizer.step()
        optimizer.zero_grad()
        return out.fvu.item()

    def infer(x: Tensor) -> tuple[Tensor, Tensor]:
        out = sae(x)
        codes = torch.zeros(len(x), case.d_sae).scatter(1, out.latent_indices, out.latent_acts)
        return codes, out.sae_out

    return Contestant(step, infer, lambda: sae.W_dec.detach())


def overcomplete(case: Case) -> Contestant:
    for name in ("cv2", "timm", "torchvision", "torchvision.transforms"):  # only for its vision models
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
            continue
        sys.modules[name] = MagicMock()
    matplotlib.cm.get_cmap = matplotlib.colormaps.__getitem__  # it wants a name that matplotlib 3.9 took away
    from overcomplete import sae as oc
    from overcomplete.sae.losses import mse_l1

    kinds = {
        "topk": (oc.TopKSAE, {"top_k": case.k}),
        "batchtopk": (oc.BatchTopKSAE, {"top_k": round(case.turned(case.k) * case.batch)}),
        "relu": (oc.SAE, {}),
        "jumprelu": (oc.JumpSAE, {}),
    }
    if case.variant not in kinds:
        raise unknown("overcomplete", case)
    kind, own = kinds[case.variant]
    torch.manual_seed(case.seed)
    sae = kind(case.d_in, nb_concepts=case.d_sae, **own)
    optimizer = torch.optim.Adam(sae.parameters(), lr=case.lr)
    last, count = [], iter(range(LONG))
    centre, scale = case.sample.mean(0), case.sample.std()  # it has no decoder bias

    def criterion(x, reconstruction, pre, codes, dictionary):
        if case.variant == "relu" or (case.variant == "jumprelu" and case.trains):
            loss = mse_l1(x, reconstruction, pre, codes, dictionary, penalty=case.turned(1e-3))
        else:
            loss = (x - reconstruction).square().mean()
        last[:] = [loss.item()]
        return loss

    def step(x: Tensor) -> float:
        optimizer.param_groups[0]["lr"] = case.lr * case.lr_share(next(count))
        with contextlib.redirect_stdout(io.StringIO()):
            oc.train_sae(sae, [(x - centre) / scale], criterion, optimizer, nb_epochs=1, monitoring=0, device="cpu")
        return last[0]

    def infer(x: Tensor) -> tuple[Tensor, Tensor]:
        sae.eval()
        codes = sae.encode((x - centre) / scale)[1]
        return codes, sae.decode(codes) * scale + centre

    return Contestant(step, infer, lambda: sae.get_dictionary().detach())


LIBRARIES = {
    "plain": plain,
    "biosae": biosae,
    "dictionary_learning": dictionary_learning,
    "sae_lens": sae_lens,
    "sparsify": sparsify,
    "overcomplete": overcomplete,
}


def active_bias(pre: Tensor, k: int) -> Tensor:
    """What to take off pre-activations so that about ``k`` of a row stay positive."""
    return torch.quantile(pre, 1 - k / pre.shape[1], dim=1).mean()


def kill(bias: Tensor, case: Case, spread: float = 1.0) -> None:
    """Lowers the first features so that they are positive for a few tokens and among the chosen for hardly any."""
    bias.data[: case.n_dead] = -1.5 * spread
