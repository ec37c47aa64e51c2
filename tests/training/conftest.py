"""A small source with planted sparse features and settings that suit it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from biosae.activations.source import ArrayActivations
from biosae.training.settings import TrainerSettings


def draw(n_tokens: int, seed: int) -> torch.Tensor:
    """(n_tokens, 16) sums of 3 of 24 features in odd units."""
    generator = torch.Generator().manual_seed(11)
    features = torch.nn.functional.normalize(torch.randn(24, 16, generator=generator), dim=1)
    generator.manual_seed(seed)
    strength = torch.rand(n_tokens, 24, generator=generator).clamp(min=0.3)
    chosen = torch.rand(n_tokens, 24, generator=generator).argsort(1) < 3
    return 30 * (strength * chosen) @ features + 5


@pytest.fixture
def source() -> ArrayActivations:
    return ArrayActivations(draw(2000, seed=1))


@pytest.fixture
def validation() -> ArrayActivations:
    return ArrayActivations(draw(500, seed=2))


@pytest.fixture
def settings():
    """Makes quick settings: 3 epochs of 8 steps, evaluated every 5."""
    quick = TrainerSettings(lr=3e-3, epochs=3, batch_size=256, eval_every=5, normaliser_tokens=1000)

    def make(**changes) -> TrainerSettings:
        return replace(quick, **changes)

    return make
