"""What a bench trains, and what a library gives for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Step = Callable[[Tensor], float]
GROUPS = (1 / 16, 1 / 8, 1 / 4, 9 / 16)
LONG = 10**9


@dataclass(frozen=True)
class Contestant:
    """An SAE in training: ``step(x)`` gives the loss, ``infer(x)`` dense codes and reconstruction."""

    step: Step
    infer: Callable[[Tensor], tuple[Tensor, Tensor]]
    dictionary: Callable[[], Tensor]


@dataclass(frozen=True)
class Case:
    """What is trained: sizes, the variant's name, a batch to start from, how many are dead, how long and how sparse.

    It is trained where the batch is.
    """

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
    precision: str = "fp32"

    @property
    def device(self) -> torch.device:
        return self.sample.device

    def autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.precision == "bf16")

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


def active_bias(pre: Tensor, k: int) -> Tensor:
    """What to take off pre-activations so that on average ``k`` of a row stay positive."""
    return torch.quantile(pre.flatten(), 1 - k / pre.shape[1])


def kill(bias: Tensor, case: Case, spread: float = 1.0) -> None:
    """Lowers the first features so that they are positive for a few tokens and among the chosen for hardly any."""
    bias.data[: case.n_dead] = -1.5 * spread
