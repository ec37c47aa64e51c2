"""The same short runs alone and with the features divided: `torchrun -m training.divided_runs OUT`."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file

from biosae.activations.source import ArrayActivations
from biosae.distributed.processes import SINGLE, ReplicaGroup, current_group, hard_exit, init_distributed
from biosae.saes.architecture import PLAIN
from biosae.saes.base import SAE
from biosae.saes.forward import Progress
from biosae.saes.shards import divide
from biosae.training.trainer import Trainer, TrainingRun

from .shared_runs import SETTINGS, draw
from .shared_runs import make as make_one

DECODER = {"tied_decoder": True, "layer_norm": True}
CASES = {
    "plain": ("topk", {}, {}, {}),
    "annealed": ("topk", {"k_anneal_fraction": 0.5}, {}, {"bias_start": "geometric_median"}),
    "narrow": ("topk", {}, {}, {"precision": "bf16"}),
    "averaged": ("topk", {"auxk_coefficient": 0.0}, {"decoder_norm": "free"}, {"average_window_fraction": 0.5}),
    "tied": ("topk", {"k": 30}, DECODER, {"keep_best": True}),
    "batchtopk": ("batchtopk", {"k_anneal_fraction": 0.3}, {}, {}),
    "matryoshka": ("matryoshka", {"group_fractions": [0.25, 0.35, 0.4]}, {}, {}),
    "standard": ("standard", {}, {}, {}),
    "weighed": ("standard", {"weigh_by_decoder_norm": True}, {}, {}),
    "panneal": ("panneal", {}, {"loss_unit": "token"}, {}),
    "jumprelu": ("jumprelu", {}, {}, {}),
    "counted": ("jumprelu", {"penalty": "tanh"}, DECODER, {}),
    "gated": ("gated", {}, {}, {"average_window_fraction": 0.5}),
    "gatedanneal": ("gatedanneal", {}, {}, {}),
}
"""Name: variant, its settings, those of the architecture and of training."""


def make(name: str, ranks: ReplicaGroup = SINGLE) -> SAE:
    variant, changes, options, _ = CASES[name]
    sae = make_one(variant, changes, replace(PLAIN, **options))  # the features dead at first are all in one process
    return sae if ranks.size == 1 else divide(sae, ranks, "cpu")


def train(name: str, folder: Path, ranks: ReplicaGroup = SINGLE) -> list[dict]:
    """The metrics of a run; the SAE is in ``folder/name``."""
    run = TrainingRun(make(name, ranks), replace(SETTINGS, epochs=4, eval_every=5, **CASES[name][3]), folder / name)
    source, validation = ArrayActivations(draw(1000, 1)), ArrayActivations(draw(333, 2))
    evaluation = Trainer([run], source, validation, seed=4, ranks=ranks).run()[0]
    return [*run.rows, evaluation]


def one_step(ranks: ReplicaGroup = SINGLE) -> dict[str, torch.Tensor]:
    """Codes, reconstruction, loss and gradients of one batch with ties and dead features."""
    sae, x = make("plain", ranks), draw(64, 3)
    sae.fit_normaliser(draw(500, 1))
    shards = sae.shards
    with torch.no_grad():
        state = make("plain").state_dict()
        state["W_enc"][:, [20, 40]] = state["W_enc"][:, [10]]  # twins, which tie
        shards.put(sae.W_enc, state["W_enc"])
    dead = torch.arange(48) < 6
    dead = dead if shards.is_whole else shards.part(dead, 0)
    forward = sae.training_forward(x)
    losses = sae.losses(forward, Progress(0, 1, dead))
    sum(losses.values()).backward()
    found = {f"gradient of {name}": shards.gathered(p.grad).contiguous() for name, p in sae.named_parameters()}
    codes = shards.gathered(shards.joined(forward.codes.dense().detach(), 1))
    again = sae.decode(sae.encode(x))
    return found | losses | {"codes": codes, "reconstruction": forward.reconstruction.detach(), "forward": again}


def ties(ranks: ReplicaGroup = SINGLE) -> tuple[torch.Tensor, torch.Tensor]:
    """A matrix with few different numbers, and which of its entries `Shards.among_largest` takes for k = 5."""
    whole = torch.randint(-2, 3, (200, 48), generator=torch.Generator().manual_seed(0)).float()
    shards = make("plain", ranks).shards
    mine = shards.part(whole, axis=1)
    columns = mine.sort(dim=1, descending=True, stable=True).indices[:, :5].sort(dim=1).values
    kept = shards.among_largest(mine.gather(1, columns), 5)
    chosen = torch.zeros_like(mine).scatter_(1, columns, kept.float())
    return whole, shards.gathered(shards.joined(chosen, axis=1))


def main(out: Path) -> None:
    ranks = current_group()
    save_file({k: v.detach() for k, v in one_step(ranks).items()}, out / f"step-{ranks.rank}.safetensors")
    torch.save(ties(ranks), out / f"ties-{ranks.rank}.pt")
    for name in CASES:
        (out / f"{name}-{ranks.rank}.json").write_text(json.dumps(train(name, out, ranks)))


if __name__ == "__main__":
    torch.set_num_threads(1)
    with init_distributed():
        main(Path(sys.argv[1]))
    hard_exit()
