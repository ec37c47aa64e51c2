"""Activations with planted sparse features, the progress of a run, and a variant from outside the package."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from biosae.registry import load_plugins
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


PAGE = Path(__file__).resolve().parents[2] / "docs" / "extending.md"


@pytest.fixture(scope="module")
def groupmax(tmp_path_factory) -> Iterator[Path]:
    """A folder with the two files of docs/extending.md, groupmax.py loaded as a plugin and sae/groupmax.yaml."""
    folder = tmp_path_factory.mktemp("groupmax")
    blocks = dict(re.findall(r"```(python|yaml)\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL))
    (folder / "groupmax.py").write_text(blocks["python"], encoding="utf-8")
    (folder / "sae").mkdir()
    (folder / "sae" / "groupmax.yaml").write_text(blocks["yaml"], encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        patch.setenv("BIOSAE_PLUGINS", "groupmax")
        load_plugins()
        yield folder
    sys.modules.pop("groupmax", None)
