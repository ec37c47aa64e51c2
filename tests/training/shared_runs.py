"""The same short runs alone and in the processes of torchrun: `python -m torch.distributed.run shared_runs.py OUT`."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import torch
import yaml
from safetensors.torch import save_file

import biosae.cli.config
from biosae.activations.source import ArrayActivations
from biosae.distributed.processes import SINGLE, ReplicaGroup, current_group, hard_exit, init_distributed
from biosae.saes.architecture import PLAIN, Architecture
from biosae.saes.base import SAE
from biosae.saes.build import build
from biosae.training.settings import TrainerSettings
from biosae.training.trainer import Trainer, TrainingRun

FOLDER = Path(biosae.cli.config.__file__).parent / "sae"
N_TOKENS = 769  # 7 batches of 128, the last of one token: one of two processes gets none

SETTINGS = TrainerSettings(
    lr=None, epochs=2, batch_size=128, eval_every=3, normaliser_tokens=500, dead_window_fraction=0.1, max_grad_norm=0.02
)
CASES = {path.stem: (path.stem, {}, {}) for path in sorted(FOLDER.glob("*.yaml"))} | {
    "best": ("batchtopk", {"k_anneal_fraction": 0.3}, {"keep_best": True}),
    "relaxed": ("gumbeltopk", {"relaxation": 0.5}, {}),
    "counted": ("jumprelu", {"penalty": "tanh"}, {}),
}
"""Name: variant, its settings, settings of training."""


def draw(n_tokens: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    features = torch.nn.functional.normalize(torch.randn(24, 16, generator=generator), dim=1)
    generator.manual_seed(seed)
    strength = torch.rand(n_tokens, 24, generator=generator).clamp(min=0.3)
    return 30 * (strength * (torch.rand(n_tokens, 24, generator=generator).argsort(1) < 3)) @ features + 5


def make(variant: str, changes: dict, architecture: Architecture = PLAIN) -> SAE:
    content = yaml.safe_load((FOLDER / f"{variant}.yaml").read_text())
    own = {name: value for name, value in content["hyperparams"].items() if name != "lr"}
    small = {name: 3 for name in ("k", "target_l0") if name in own}
    sae = build(content["variant"], 16, 48, own | small | changes, architecture=architecture)
    with torch.no_grad():
        sae.b_enc[:6] = -1.0  # dead from the start, so that AuxK has work
    return sae


def train(name: str, folder: Path, group: ReplicaGroup = SINGLE) -> list[dict]:
    """The metrics of a run; the weights and buffers are left in ``folder``."""
    variant, changes, settings = CASES[name]
    run = TrainingRun(make(variant, changes), replace(SETTINGS, **settings), folder / name)
    source, validation = ArrayActivations(draw(N_TOKENS, 1)), ArrayActivations(draw(333, 2))
    evaluation = Trainer([run], source, validation, seed=4, group=group).run()[0]
    state = {key: tensor.contiguous() for key, tensor in run.sae.state_dict().items()}
    save_file(state, folder / f"{name}-{group.rank}.safetensors")
    return [*run.rows, evaluation]


if __name__ == "__main__":
    torch.set_num_threads(1)
    out = Path(sys.argv[1])
    with init_distributed():
        for name in CASES:
            rows = train(name, out, current_group())
            (out / f"{name}-{current_group().rank}.json").write_text(json.dumps(rows))
    hard_exit()
