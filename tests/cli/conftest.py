import os
import subprocess
import sys

import pytest
from hydra.core.global_hydra import GlobalHydra

SMALL = ("data.n_cells=400", "data.label_keys=[cell_type_coarse]", "training.epochs=1", "analysis.n_permutations=99")


@pytest.fixture
def biosae(monkeypatch, capsys, tmp_path):
    """Runs a command line in this process; gives its exit code and what it said."""

    def run(*words):
        from biosae.__main__ import main

        GlobalHydra.instance().clear()
        monkeypatch.setattr(sys, "argv", ["biosae", *words])
        monkeypatch.chdir(tmp_path)
        try:
            main()
            code = 0
        except SystemExit as stop:
            code = stop.code
        said = capsys.readouterr()
        return code, " ".join((said.out + said.err).split())

    return run


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory):
    """The output of `biosae run` on 400 of the embedded cells, typed as a newcomer would, with the network shut."""
    folder = tmp_path_factory.mktemp("run")
    # The proxy leads nowhere: an attempt to reach the network fails instead of passing unseen.
    shut = {"HTTPS_PROXY": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "biosae", "run", *SMALL]
    done = subprocess.run(command, cwd=folder, env=os.environ | shut, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (run,) = (folder / "runs" / "0").iterdir()
    assert "held-out fvu" in done.stderr and "best feature" not in done.stderr  # logs and bars; results go to stdout
    return run, " ".join(done.stdout.split())
