"""One SAE in training: its optimiser, its counters and its one training step."""

from __future__ import annotations

from collections import defaultdict
from math import isfinite

import torch
from torch import Tensor

from biosae.distributed.processes import SINGLE, ReplicaGroup
from biosae.errors import TrainingError
from biosae.saes.base import SAE
from biosae.saes.forward import ForwardOutput, Progress

from .average import WeightAverage
from .resample import resample
from .schedule import default_lr, lr_factor
from .settings import TrainerSettings
from .update import update

AMP_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


class TrainState:
    """An SAE with everything that changes while it learns.

    Parameters
    ----------
    sae
        Trained in place; its normaliser is fitted.
    total_steps, total_tokens
        Length of the run, which all schedules are shares of.
    ranks
        The processes that share every batch; each has a copy of the SAE, and after every step they are equal.
    """

    def __init__(
        self, sae: SAE, settings: TrainerSettings, total_steps: int, total_tokens: int, ranks: ReplicaGroup = SINGLE
    ):
        self.sae, self.settings, self.total_steps, self.ranks = sae, settings, total_steps, ranks
        self.lr = default_lr(sae) if settings.lr is None else settings.lr
        self.dead_after_tokens = settings.dead_window_fraction * total_tokens
        device = sae.W_dec.device
        self.optimizer = torch.optim.AdamW(
            _groups(sae), lr=self.lr, betas=(sae.momentum, 0.999), weight_decay=settings.weight_decay, fused=True
        )
        self.scaler = torch.amp.GradScaler(device.type, enabled=settings.precision == "fp16")
        window = settings.average_window_fraction * total_steps
        self.average = WeightAverage(sae, window) if window else None
        self.resample_steps = {round(at * total_steps) for at in settings.resample_at}
        self.tokens_since_fired = torch.zeros(sae.n_features_here, dtype=torch.int64, device=device)
        self.n_steps = 0
        self.n_tokens = 0
        self._sums: defaultdict[str, float] = defaultdict(float)

    def progress(self) -> Progress:
        return Progress(self.n_steps, self.total_steps, self.tokens_since_fired > self.dead_after_tokens)

    def step(self, x: Tensor) -> None:
        """Learns from this process's share of a ``(batch, d_in)`` batch in host units.

        Raises
        ------
        TrainingError
            When the loss is not finite; the weights are then still those of the step before.
        """
        progress = self.progress()
        with self._autocast():
            forward = self.sae.training_forward(x, self.ranks)
            losses = self.sae.losses(forward, progress)
        loss = sum(losses.values())
        whole = self.ranks.total(torch.stack([loss.detach(), *(term.detach() for term in losses.values())]))
        measured = dict(zip(("loss", *losses), whole.tolist(), strict=True))
        self._check_finite(measured)
        self._update(loss)
        with torch.no_grad():
            self.sae.after_step(forward, progress)
        self._count(forward, measured)
        if self.n_steps in self.resample_steps:
            revived = resample(self.sae, self.optimizer, forward, self.progress().dead, seed=self.n_steps)
            self.tokens_since_fired[revived] = 0
        if self.average:
            self.average.update(self.sae, self.n_steps)

    def result(self) -> SAE:
        """The SAE as it would be kept now: the averaged one where asked for."""
        return self.average.result() if self.average else self.sae

    def metrics(self) -> dict[str, float]:
        """Means over the steps since the last call, and where the counters stand."""
        sums, n = self._sums, self._sums["n_tokens"]
        metrics = {name: total / n for name, total in sums.items() if name.startswith("mean:")}
        metrics = {name.removeprefix("mean:"): value for name, value in metrics.items()}
        metrics["fvu"] = sums["error"] / sums["variance"]
        metrics["dead_fraction"] = self.sae.shards.ranks.count(int(self.progress().dead.sum())) / self.sae.d_sae
        metrics["lr"] = self.optimizer.param_groups[0]["lr"]
        sums.clear()
        return metrics

    def state(self) -> tuple[dict[str, Tensor], dict[str, object]]:
        """Tensors and plain numbers that, with the SAE, continue the run at the next bit; whole as in `whole_state`."""
        shards = self.sae.shards
        tensors = {"tokens_since_fired": shards.joined(self.tokens_since_fired, axis=0)}
        if self.average:
            tensors |= {f"average.{name}": tensor for name, tensor in self.average.sae.state_dict().items()}
        for index, moments in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{name}": tensor for name, tensor in moments.items()}
        numbers = {"n_steps": self.n_steps, "n_tokens": self.n_tokens, "sums": dict(self._sums)}
        tensors = {name: shards.gathered(tensor) for name, tensor in tensors.items()}
        return tensors, {**numbers, "scaler": self.scaler.state_dict()}

    def restore(self, tensors: dict[str, Tensor], numbers: dict) -> None:
        """Takes back what `state` gave."""
        shards = self.sae.shards
        shards.put(shards.joined(self.tokens_since_fired, axis=0), tensors["tokens_since_fired"])
        moments: defaultdict[int, dict[str, Tensor]] = defaultdict(dict)
        for name, tensor in tensors.items():
            if name.startswith("optimizer."):
                _, index, moment = name.split(".")
                moments[int(index)][moment] = tensor
        self._restore_moments(moments)
        if self.average:
            own = {name: tensor for name, tensor in tensors.items() if name.startswith("average.")}
            self.average.sae.take({name.removeprefix("average."): own[name] for name in own})
        self.scaler.load_state_dict(numbers["scaler"])
        self.n_steps, self.n_tokens = numbers["n_steps"], numbers["n_tokens"]
        self._sums = defaultdict(float, numbers["sums"])

    def _restore_moments(self, moments: dict[int, dict[str, Tensor]]) -> None:
        """The fused optimiser wants moments laid out in memory like their parameter."""
        parameters = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        for index, parameter in enumerate(parameters):
            for name, tensor in moments.get(index, {}).items():
                if tensor.shape == parameter.shape:
                    moments[index][name] = self.sae.shards.put(torch.empty_like(parameter), tensor)
        state = self.optimizer.state_dict()
        self.optimizer.load_state_dict({**state, "state": dict(moments)})

    def _autocast(self) -> torch.autocast:
        dtype = AMP_DTYPES.get(self.settings.precision)
        return torch.autocast(self.sae.W_dec.device.type, dtype=dtype, enabled=dtype is not None)

    def _check_finite(self, losses: dict[str, float]) -> None:
        if isfinite(losses["loss"]):
            return
        broken = ", ".join(f"{name} {term:g}" for name, term in losses.items() if name != "loss")
        raise TrainingError(f"the loss is not finite at step {self.n_steps} ({broken}); lower lr={self.lr:g}")

    def _update(self, loss: Tensor) -> None:
        factor = lr_factor(self.settings, (self.n_steps + 0.5) / self.total_steps)
        for group in self.optimizer.param_groups:
            group["lr"] = self.lr * factor * group["share"]
        self.optimizer.zero_grad()
        self.scaler.scale(loss).backward()
        self.ranks.add_up([parameter.grad for parameter in self.sae.parameters()])
        update(self.sae, self.optimizer, self.scaler, self.settings.max_grad_norm)

    @torch.no_grad()
    def _count(self, forward: ForwardOutput, losses: dict[str, float]) -> None:
        n = forward.n_tokens
        fired = self.ranks.total(forward.codes.firing_counts())
        squares = torch.tensor([squared_norm(forward.residual), squared_norm(forward.x)], dtype=torch.float64)
        error, variance = self.ranks.total(squares).tolist()
        self.tokens_since_fired.add_(n)[fired > 0] = 0
        self.n_steps += 1
        self.n_tokens += n
        self._sums["n_tokens"] += n
        self._sums["error"] += error
        self._sums["variance"] += variance
        self._sums["mean:l0"] += self.sae.shards.ranks.count(int(fired.sum()))
        for name, term in losses.items():
            self._sums[f"mean:{name}"] += n * term


def _groups(sae: SAE) -> list[dict]:
    """Parameters as Adam takes them, with the share of the learning rate that each gets.

    Adam moves every number by about the learning rate. A feature has ``d_in`` weights, so a token's pre-activation
    follows them by ``sqrt(d_in)`` times as much as it follows one number of the same size. Vectors (biases,
    thresholds, scales) at the full rate outrun the matrices: what that costs is measured in docs/variants.md.
    """
    vectors = [parameter for parameter in sae.parameters() if parameter.ndim == 1]
    matrices = [parameter for parameter in sae.parameters() if parameter.ndim > 1]
    return [{"params": matrices, "share": 1.0}, {"params": vectors, "share": sae.d_in**-0.5}]


def squared_norm(x: Tensor) -> float:
    """Sum of squares, in one pass."""
    return x.reshape(-1).dot(x.reshape(-1)).item()
