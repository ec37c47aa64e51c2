"""Fixtures of several folders.

Without a GPU Triton's kernels run in its interpreter, which has to be said before it is imported.
"""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path

import pytest
import torch

os.environ.setdefault("TRITON_INTERPRET", "0" if torch.cuda.is_available() else "1")

needs_onednn = pytest.mark.skipif(
    not hasattr(torch.ops.mkldnn, "_linear_pointwise"), reason="needs a build of torch with oneDNN"
)


@pytest.fixture(params=[pytest.param(True, marks=needs_onednn), False], ids=["onednn", "mkl"])
def by_onednn(request, monkeypatch) -> bool:
    """Whether products without gradient go to oneDNN, whatever the machine would choose."""
    monkeypatch.setattr("biosae.ops.linear.onednn_is_faster", lambda: request.param)
    return request.param


@pytest.fixture(scope="session")
def panel_folder(tmp_path_factory) -> Path:
    """A folder with the two files of docs/add-a-model.md: panel.py and scfm/panel.yaml."""
    page = (Path(__file__).parents[1] / "docs" / "add-a-model.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```(python|yaml)\n(.*?)```", page, flags=re.DOTALL)
    folder = tmp_path_factory.mktemp("panel")
    (folder / "scfm").mkdir()
    for kind, name in (("python", "panel.py"), ("yaml", "scfm/panel.yaml")):
        (folder / name).write_text("\n\n".join(text for found, text in blocks if found == kind), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def panel(panel_folder):
    """The module panel.py, loaded as a plugin from outside the package; its loader is registered."""
    from biosae.models.loaders import LOADERS
    from biosae.registry import load_plugins

    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(panel_folder)
        patch.setenv("BIOSAE_PLUGINS", "panel")
        patch.setattr(LOADERS, "_registered", dict(LOADERS._registered))
        load_plugins()
        yield sys.modules["panel"]
        del sys.modules["panel"]


@pytest.fixture
def write_panel(panel):
    """Writes a random checkpoint of three layers of the model in panel.py over the given genes."""
    from safetensors.torch import save_file

    def write(folder: Path, genes: list[str]) -> Path:
        (folder / "genes.json").write_text(json.dumps(genes))
        generator = torch.Generator().manual_seed(0)
        shapes = {name: w.shape for name, w in panel.PanelNetwork(len(genes), 16, 3).state_dict().items()}
        weights = {name: 0.3 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}
        save_file(weights, folder / "model.safetensors")
        return folder

    return write
