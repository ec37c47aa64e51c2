"""One full training step of each other library, the way its own trainer does it.

Every function takes a `Case` and gives a `Contestant`. A library that is not installed, or cannot do the variant,
raises; the benches report that as a result.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import sys
from unittest.mock import MagicMock

import matplotlib
import matplotlib.cm
import torch
from case import GROUPS, LONG, Case, Contestant, kill
from own import biosae, plain
from torch import Tensor

KEPT_ROW_BY_ROW = ("jumprelu", "matryoshka")
"""Variants of dictionary_learning whose decoder is a ``W_dec`` of one row a feature, not a linear layer."""


def unknown(library: str, case: Case) -> Exception:
    return NotImplementedError(f"{library} has no {case.variant}")


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
    sae = SparseCoder(case.d_in, SparseCoderConfig(num_latents=case.d_sae, k=case.k), case.device, torch.float32)
    sae.b_dec.data = case.sample.mean(0)
    kill(sae.encoder.bias, case, 3**-0.5)
    optimizer = torch.optim.Adam(sae.parameters(), lr=case.lr)
    dead = torch.arange(case.d_sae, device=case.device) < case.n_dead if case.n_dead else None
    count = iter(range(LONG))

    def step(x: Tensor) -> float:
        optimizer.param_groups[0]["lr"] = case.lr * case.lr_share(next(count))
        sae.set_decoder_norm_to_unit_norm()
        with case.autocast():  # on a GPU it does that by itself
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
GPU_LIBRARIES = ("plain", "biosae", "sparsify")
"""Those that train on a GPU here, and in bf16."""
