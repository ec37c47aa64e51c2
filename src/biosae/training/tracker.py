"""Trackers: records of a run's metrics beside ``metrics.csv``."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any, Protocol

import yaml

from biosae.errors import SettingError, require
from biosae.registry import Registry

TRACKERS = Registry(
    "tracker",
    {
        "csv": "biosae.training.tracker:NoTracker",
        "tensorboard": "biosae.training.tracker:TensorboardTracker",
        "wandb": "biosae.training.tracker:WandbTracker",
    },
    entry_points="biosae.trackers",
)


class Tracker(Protocol):
    """Receives the metrics of a run while it trains."""

    def start(self, folder: Path, config: dict[str, Any]) -> None:
        """Open the record of a run in ``folder``, with its resolved configuration."""

    def log(self, metrics: dict[str, float], step: int) -> None:
        """Record numbers at a training step; names are like ``train/loss`` and ``validate/fvu``."""

    def close(self) -> None:
        """End the record."""


class NoTracker:
    """No record beside ``metrics.csv``, which every run writes."""

    def start(self, folder: Path, config: dict[str, Any]) -> None:
        pass

    def log(self, metrics: dict[str, float], step: int) -> None:
        pass

    def close(self) -> None:
        pass


class WandbTracker:
    """Weights & Biases; offline runs lie in the run folder until ``wandb sync`` uploads them.

    A run that is resumed goes on in its record, whose name is kept in ``wandb-id.txt`` of the run folder.

    Parameters
    ----------
    mode
        ``offline``, ``online`` or ``disabled``.
    project
        Name of the project on the server.
    """

    def __init__(self, mode: str, project: str):
        if mode not in ("offline", "online", "disabled"):
            raise SettingError(f"mode must be offline, online or disabled, got {mode}", argument="tracker.mode")
        self._mode, self._project = mode, project
        self._wandb = require("wandb", "tracking")
        self._run = None

    def start(self, folder: Path, config: dict[str, Any]) -> None:
        name = "-".join(folder.parts[-2:])
        # SAEs of one pass each have a record; by default a second one would write into the first.
        self._run = self._wandb.init(
            mode=self._mode,
            project=self._project,
            name=name,
            id=_kept_id(folder),
            resume="allow" if self._mode == "online" else None,
            dir=folder,
            config=config,
            reinit="create_new",
        )

    def log(self, metrics: dict[str, float], step: int) -> None:
        self._run.log(metrics, step=step)

    def close(self) -> None:
        self._run.finish()


def _kept_id(folder: Path) -> str:
    path = folder / "wandb-id.txt"
    if not path.exists():
        path.write_text(secrets.token_hex(8), encoding="utf-8")
    return path.read_text(encoding="utf-8")


class TensorboardTracker:
    """TensorBoard event files in the run folder."""

    def __init__(self) -> None:
        require("tensorboard", "tracking")
        self._writer = None

    def start(self, folder: Path, config: dict[str, Any]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(folder / "tensorboard")
        self._writer.add_text("config", f"```yaml\n{yaml.safe_dump(config, sort_keys=False)}```")

    def log(self, metrics: dict[str, float], step: int) -> None:
        for name, number in metrics.items():
            self._writer.add_scalar(name, number, step)

    def close(self) -> None:
        self._writer.close()
