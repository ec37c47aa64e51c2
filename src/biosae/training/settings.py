"""Settings of a training run; every length is a number of tokens or a share of the run."""

from __future__ import annotations

from dataclasses import dataclass

from biosae.errors import SettingError

PRECISIONS = ("fp32", "bf16", "fp16")
DECAYS = ("linear", "cosine")


@dataclass(frozen=True)
class TrainerSettings:
    """Settings of training, and the learning rate of the variant.

    Attributes
    ----------
    lr
        Peak learning rate of Adam; None for `schedule.default_lr`.
    epochs
        Passes over the training activations.
    max_tokens
        Number of activations after which the run ends, in place of ``epochs``; None for whole epochs.
    batch_size
        Activations per step.
    warmup_fraction, decay_fraction, decay
        Share of the run in which the learning rate rises from 0, share at its end in which it falls to 0,
        and the shape of the fall (``linear`` or ``cosine``).
    weight_decay
        Decoupled decay of the weights, times the learning rate (AdamW).
    max_grad_norm
        Gradients are scaled down to this norm.
    eval_every
        Steps between evaluations on held-out activations; a checkpoint is kept at each.
    precision
        ``fp32``, or ``bf16`` or ``fp16`` products with float32 weights.
    dead_window_fraction
        A feature that has not fired for this share of the run's tokens counts as dead.
    normaliser_tokens
        Activations to which centre and scale are fitted.
    keep_best
        Keep the weights of the evaluation with the lowest held-out FVU instead of the last ones.
    patience
        Number of evaluations without a lower held-out FVU after which the run ends, once the learning rate has
        fallen to 0 over ``decay_fraction``; None for no limit.
    keep_at
        Shares of the run, such as ``(0.1, 0.5)``, at which the SAE is kept in ``kept/<step>`` of the run folder.
    """

    lr: float | None
    epochs: int = 1
    max_tokens: int | None = None
    batch_size: int = 1024
    warmup_fraction: float = 0.05
    decay_fraction: float = 0.2
    decay: str = "linear"
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    eval_every: int = 100
    precision: str = "fp32"
    dead_window_fraction: float = 0.05
    normaliser_tokens: int = 65536
    keep_best: bool = False
    patience: int | None = None
    keep_at: tuple[float, ...] = ()

    def __post_init__(self):
        for name in ("epochs", "batch_size", "eval_every", "normaliser_tokens"):
            _check(name, getattr(self, name), _is_count(getattr(self, name)), "a whole number of at least 1")
            object.__setattr__(self, name, int(getattr(self, name)))
        for name in ("max_tokens", "patience"):
            if getattr(self, name) is None:
                continue
            _check(name, getattr(self, name), _is_count(getattr(self, name)), "a whole number of at least 1, or null")
            object.__setattr__(self, name, int(getattr(self, name)))
        _check("lr", self.lr, self.lr is None or self.lr > 0, "above 0, or null")
        _check("weight_decay", self.weight_decay, self.weight_decay >= 0, "at least 0")
        _check("max_grad_norm", self.max_grad_norm, self.max_grad_norm > 0, "above 0")
        object.__setattr__(self, "keep_at", tuple(self.keep_at))
        _check("keep_at", self.keep_at, all(0 < share <= 1 for share in self.keep_at), "shares above 0, at most 1")
        for name in ("warmup_fraction", "decay_fraction", "dead_window_fraction"):
            _check(name, getattr(self, name), 0 <= getattr(self, name) <= 1, "between 0 and 1")
        total = self.warmup_fraction + self.decay_fraction
        _check("warmup_fraction + decay_fraction", total, total <= 1, "at most 1")
        _check("precision", self.precision, self.precision in PRECISIONS, f"one of {', '.join(PRECISIONS)}")
        _check("decay", self.decay, self.decay in DECAYS, f"one of {', '.join(DECAYS)}")

    def total_steps(self, n_tokens: int) -> int:
        """Return the number of steps of a run over ``n_tokens`` activations per epoch."""
        a_pass = self.steps_per_epoch(n_tokens)
        if self.max_tokens is None:
            return self.epochs * a_pass
        passes, rest = divmod(self.max_tokens, n_tokens)
        return passes * a_pass + -(-rest // self.batch_size)

    def kept_steps(self, total_steps: int) -> set[int]:
        """Return the steps after which the SAE is kept."""
        return {max(1, round(share * total_steps)) for share in self.keep_at}

    def steps_per_epoch(self, n_tokens: int) -> int:
        return -(-n_tokens // self.batch_size)

    def total_tokens(self, n_tokens: int) -> int:
        """Return the number of activations in a run over ``n_tokens`` per epoch."""
        return self.epochs * n_tokens if self.max_tokens is None else self.max_tokens


def _is_count(value: float) -> bool:
    return value >= 1 and value % 1 == 0


def _check(name: str, value: object, holds: bool, expected: str) -> None:
    if not holds:
        raise SettingError(f"{name} must be {expected}, got {value}", argument=name.partition(" ")[0])
