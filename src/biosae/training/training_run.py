"""An SAE to train, with what it has been through: its settings, its folder, its evaluations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from biosae.saes.base import SAE

from .settings import TrainerSettings
from .tracker import Tracker

Callback = Callable[[SAE, int], Mapping[str, float] | None]
"""Called with the SAE and the step at every evaluation, whose numbers those that it returns are added to."""


@dataclass
class TrainingRun:
    """An SAE to train, its settings, its run folder and its tracker.

    Attributes
    ----------
    schedule
        Share of the run, from 0 to 1, to the learning rate, in place of that of the settings.
    callbacks
        See `Callback`.
    """

    sae: SAE
    settings: TrainerSettings
    folder: Path
    tracker: Tracker | None = None
    schedule: Callable[[float], float] | None = None
    callbacks: Sequence[Callback] = ()
    rows: list[dict] = field(default_factory=list, init=False)

    def evaluations_since_best(self) -> int:
        """Return the number of evaluations after the one with the lowest held-out FVU; 0 before the first."""
        history = [row["fvu"] for row in self.rows if row["split"] == "validate"]
        return len(history) - 1 - history.index(min(history)) if history else 0

    def stalled_at(self) -> int | None:
        """Return the step of the evaluation that exhausted the patience; None before."""
        best, n_since = float("inf"), 0
        for row in self.rows if self.settings.patience is not None else ():
            if row["split"] != "validate":
                continue
            best, n_since = (row["fvu"], 0) if row["fvu"] < best else (best, n_since + 1)
            if n_since >= self.settings.patience:
                return row["step"]
        return None

    def last_step(self, total_steps: int) -> int:
        """Return the step after which the run ends: once its patience has ended, the learning rate still decays."""
        start = self.stalled_at()
        if start is None:
            return total_steps
        share = self.settings.decay_fraction if self.schedule is None else 0.0
        return min(total_steps, start + round(share * total_steps))
