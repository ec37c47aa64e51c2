"""The learning rate over a run."""

from __future__ import annotations

import math

from biosae.saes.base import SAE

from .settings import TrainerSettings


def default_lr(sae: SAE) -> float:
    """Return a learning rate that suits dictionaries of any size: ``base_lr`` for 1,024 features, less for more.

    The root law is that of Gao et al. (2024, arXiv 2406.04093, section 3.1). Its constants are larger than
    theirs, because runs on cells and proteins are thousands of times shorter than on text: measured
    in docs/variants.md.
    """
    return sae.base_lr * (1024 / sae.d_sae) ** 0.5


def lr_factor(settings: TrainerSettings, fraction: float) -> float:
    """Return the share of the peak learning rate when ``fraction`` of the run is over: up, flat, down."""
    left = 1 - fraction
    if fraction < settings.warmup_fraction:
        return fraction / settings.warmup_fraction
    if left < settings.decay_fraction:
        return _fall(settings, left / settings.decay_fraction)
    return 1.0


def cooldown_factor(settings: TrainerSettings, step: float, start: int, end: int) -> float:
    """Return the share, at ``step``, of the learning rate that a run had when its patience ended at ``start``."""
    return _fall(settings, (end - step) / (end - start))


def _fall(settings: TrainerSettings, remaining: float) -> float:
    return remaining if settings.decay == "linear" else (1 - math.cos(math.pi * remaining)) / 2
