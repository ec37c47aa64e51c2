"""Where metrics go besides the run's own table."""

from __future__ import annotations

from typing import Protocol


class Tracker(Protocol):
    """A logger such as Weights & Biases; names are like ``train/loss`` and ``validate/fvu``."""

    def log(self, metrics: dict[str, float], step: int) -> None: ...

    def close(self) -> None: ...
