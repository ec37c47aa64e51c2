"""The learning rate over a run."""

from __future__ import annotations

import math

from .settings import TrainerSettings


def lr_factor(settings: TrainerSettings, fraction: float) -> float:
    """Share of the peak learning rate when ``fraction`` of the run is over: up, flat, down."""
    left = 1 - fraction
    if fraction < settings.warmup_fraction:
        return fraction / settings.warmup_fraction
    if left < settings.decay_fraction:
        remaining = left / settings.decay_fraction
        return remaining if settings.decay == "linear" else (1 - math.cos(math.pi * remaining)) / 2
    return 1.0
