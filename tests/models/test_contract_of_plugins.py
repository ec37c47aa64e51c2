"""Models of other packages go through the contract tests without an edit of these."""

import os
import subprocess
import sys
from pathlib import Path

CONTRACT = Path(__file__).with_name("test_contract.py")


def test_a_model_of_a_plugin_is_tested_without_an_edit(panel_folder, write_panel, tmp_path):
    """The last command of docs/add-a-model.md, with a loader of another name and one contract test."""
    module = (panel_folder / "panel.py").read_text().replace('register("panel")', 'register("mine")')
    (tmp_path / "mine.py").write_text(module)
    checkpoint = str(write_panel(tmp_path, [f"GENE{n}" for n in range(1, 41)]))
    fixture = f"import pytest\n\n@pytest.fixture\ndef tiny_mine():\n    return {checkpoint!r}\n"
    (tmp_path / "mine_fixtures.py").write_text(fixture)
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-m", "pytest", "-q", "-p", "mine_fixtures", str(CONTRACT), "-k", "mine and identity"]
    env = os.environ | {"BIOSAE_PLUGINS": "mine", "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert "1 passed" in done.stdout, done.stdout + done.stderr
