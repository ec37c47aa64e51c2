"""Activations with planted sparse features, and where a run stands."""

from __future__ import annotations

import pytest
import torch

from biosae.saes.forward import Progress


@pytest.fixture
def planted() -> torch.Tensor:
    """(512, 16) activations in odd units: offset, scaled, each a sum of 3 of 32 features and a little noise."""
    generator = torch.Generator().manual_seed(7)
    features = torch.nn.functional.normalize(torch.randn(32, 16, generator=generator), dim=1)
    strength = torch.rand(512, 32, generator=generator).clamp(min=0.2)
    chosen = torch.rand(512, 32, generator=generator).argsort(1) < 3
    noise = 0.02 * torch.randn(512, 16, generator=generator)
    return 40 * ((strength * chosen) @ features + noise) - 11


@pytest.fixture
def start():
    """Makes the progress of a run's first step, with the given features (or none) dead."""

    def make(d_sae: int, dead: slice = slice(0, 0), total_steps: int = 100) -> Progress:
        mask = torch.zeros(d_sae, dtype=torch.bool)
        mask[dead] = True
        return Progress(0, total_steps, mask)

    return make
