"""An SAE in training: its optimiser, its counters and its training step."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from math import isfinite

import torch
from torch import Tensor

from biosae.distributed.processes import SINGLE, ReplicaGroup
from biosae.errors import TrainingError
from biosae.saes.base import SAE
from biosae.saes.forward import ForwardOutput, Progress

from .data_parallel import batch_of
from .schedule import cooldown_factor, default_lr, lr_factor
from .settings import TrainerSettings
from .update import update

AMP_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


class TrainState:
    """An SAE with all state that training changes.

    Parameters
    ----------
    sae
        The SAE, trained in place; its normaliser is fitted.
    total_steps, total_tokens
        Length of the run; schedules are shares of it.
    schedule
        Share of the run to the learning rate; None for that of the settings.
    group
        Processes that share every batch. Each has a copy of the SAE, and the copies are equal after every step.
    """

    def __init__(
        self,
        sae: SAE,
        settings: TrainerSettings,
        total_steps: int,
        total_tokens: int,
        group: ReplicaGroup = SINGLE,
        schedule: Callable[[float], float] | None = None,
    ):
        self.sae, self.settings, self.total_steps, self.group = sae, settings, total_steps, group
        self.batch = batch_of(group)
        self.lr = default_lr(sae) if settings.lr is None else settings.lr
        self.schedule = schedule or (lambda fraction: self.lr * lr_factor(settings, fraction))
        self.dead_after_tokens = settings.dead_window_fraction * total_tokens
        device = sae.W_dec.device
        self.optimizer = torch.optim.AdamW(
            _groups(sae), lr=self.lr, betas=(sae.adam_beta1, 0.999), weight_decay=settings.weight_decay, fused=True
        )
        self.scaler = torch.amp.GradScaler(device.type, enabled=settings.precision == "fp16")
        self.tokens_since_fired = torch.zeros(sae.d_sae, dtype=torch.int64, device=device)
        self.cooldown: tuple[int, int] | None = None  # steps between which a run that has stalled decays its rate
        self.n_steps = 0
        self.n_tokens = 0
        self._sums: defaultdict[str, float] = defaultdict(float)

    def progress(self) -> Progress:
        return Progress(self.n_steps, self.total_steps, self.tokens_since_fired > self.dead_after_tokens)

    def step(self, x: Tensor) -> None:
        """Take one training step with the rows of this process of a ``(batch, d_in)`` batch.

        Raises
        ------
        TrainingError
            When the loss is not finite; the weights are then still those of the step before.
        """
        progress = self.progress()
        with self._autocast():
            forward = self.sae.training_forward(x, self.batch)
            losses = self.sae.losses(forward, progress)
        loss = sum(losses.values())
        terms = torch.stack([loss.detach(), *(term.detach() for term in losses.values())])
        measured = dict(zip(("loss", *losses), terms.tolist(), strict=True))
        self._check_finite(measured)
        self._update(loss)
        with torch.no_grad():
            self.sae.after_step(forward, progress)
        self._count(forward, measured)

    def metrics(self) -> dict[str, float]:
        """Return means over the steps since the last call, and the current counters."""
        sums, n = self._sums, self._sums["n_tokens"]
        metrics = {name: total / n for name, total in sums.items() if name.startswith("mean:")}
        metrics = {name.removeprefix("mean:"): value for name, value in metrics.items()}
        metrics["fvu"] = sums["error"] / sums["variance"]
        metrics["dead_fraction"] = int(self.progress().dead.sum()) / self.sae.d_sae
        metrics["lr"] = self.optimizer.param_groups[0]["lr"]
        sums.clear()
        return metrics

    def state(self) -> tuple[dict[str, Tensor], dict[str, object]]:
        """Return tensors and numbers from which, with the SAE, the run continues bit by bit."""
        tensors = {"tokens_since_fired": self.tokens_since_fired}
        for index, moments in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{name}": tensor for name, tensor in moments.items()}
        numbers = {"n_steps": self.n_steps, "n_tokens": self.n_tokens, "sums": dict(self._sums)}
        return tensors, {**numbers, "scaler": self.scaler.state_dict()}

    def restore(self, tensors: dict[str, Tensor], numbers: dict) -> None:
        """Restore the return values of `state`."""
        self.tokens_since_fired.copy_(tensors["tokens_since_fired"])
        moments: defaultdict[int, dict[str, Tensor]] = defaultdict(dict)
        for name, tensor in tensors.items():
            if name.startswith("optimizer."):
                _, index, moment = name.split(".")
                moments[int(index)][moment] = tensor
        self._restore_moments(moments)
        self.scaler.load_state_dict(numbers["scaler"])
        self.n_steps, self.n_tokens = numbers["n_steps"], numbers["n_tokens"]
        self._sums = defaultdict(float, numbers["sums"])

    @torch.no_grad()
    def _restore_moments(self, moments: dict[int, dict[str, Tensor]]) -> None:
        """Restore Adam's moments; the fused optimiser needs them laid out in memory like their parameter."""
        parameters = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        for index, parameter in enumerate(parameters):
            for name, tensor in moments.get(index, {}).items():
                if tensor.shape == parameter.shape:
                    moments[index][name] = torch.empty_like(parameter).copy_(tensor)
        state = self.optimizer.state_dict()
        self.optimizer.load_state_dict({**state, "state": dict(moments)})

    def _autocast(self) -> torch.autocast:
        dtype = AMP_DTYPES.get(self.settings.precision)
        return torch.autocast(self.sae.W_dec.device.type, dtype=dtype, enabled=dtype is not None)

    def _check_finite(self, losses: dict[str, float]) -> None:
        if isfinite(losses["loss"]):
            return
        broken = ", ".join(f"{name} {term:g}" for name, term in losses.items() if name != "loss")
        message = f"the loss is not finite at step {self.n_steps} ({broken}); lower lr={self.lr:g}"
        raise TrainingError(message, argument="lr")

    def _update(self, loss: Tensor) -> None:
        lr = self._lr()
        for group in self.optimizer.param_groups:
            group["lr"] = lr * group["share"]
        self.optimizer.zero_grad()
        self.scaler.scale(loss).backward()
        self.group.all_reduce_([parameter.grad for parameter in self.sae.parameters()])
        update(self.sae, self.optimizer, self.scaler, self.settings.max_grad_norm)

    def _lr(self) -> float:
        step = self.n_steps + 0.5
        if self.cooldown is None:
            return self.schedule(step / self.total_steps)
        start, end = self.cooldown
        return self.schedule(start / self.total_steps) * cooldown_factor(self.settings, step, start, end)

    @torch.no_grad()
    def _count(self, forward: ForwardOutput, losses: dict[str, float]) -> None:
        n = forward.n_tokens
        fired = self.group.all_reduce_sum(forward.codes.firing_counts())
        squares = torch.tensor([squared_norm(forward.residual), squared_norm(forward.x)], dtype=torch.float64)
        error, variance = self.group.all_reduce_sum(squares).tolist()
        self.tokens_since_fired.add_(n)[fired > 0] = 0
        self.n_steps += 1
        self.n_tokens += n
        self._sums["n_tokens"] += n
        self._sums["error"] += error
        self._sums["variance"] += variance
        self._sums["mean:l0"] += int(fired.sum())
        for name, term in losses.items():
            self._sums[f"mean:{name}"] += n * term


def _groups(sae: SAE) -> list[dict]:
    """Return the parameter groups of Adam, with the share of the learning rate of each.

    Adam moves every number by about the learning rate. A feature has ``d_in`` weights, so a token's pre-activation
    follows them by ``sqrt(d_in)`` times as much as it follows one number of the same size. Vectors (biases,
    thresholds, scales) at the full rate outrun the matrices: what that costs is measured in docs/variants.md.
    """
    vectors = [parameter for parameter in sae.parameters() if parameter.ndim == 1]
    matrices = [parameter for parameter in sae.parameters() if parameter.ndim > 1]
    return [{"params": matrices, "share": 1.0}, {"params": vectors, "share": sae.d_in**-0.5}]


def squared_norm(x: Tensor) -> float:
    """Return the sum of squares, in one pass."""
    return x.reshape(-1).dot(x.reshape(-1)).item()
