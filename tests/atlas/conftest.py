"""One synthetic run and its report, shared by the tests of this folder."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from biosae.atlas.cell_map import CACHE
from biosae.atlas.page import write_report
from biosae.atlas.run_folder import RunFolder, read_run_folder

from .synthetic import write_run


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory) -> Path:
    """A run folder that no test changes."""
    return write_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="session")
def run(run_folder) -> RunFolder:
    return read_run_folder(run_folder)


@pytest.fixture(scope="session")
def report(run_folder) -> Path:
    """index.html of the run's report."""
    return write_report(run_folder, run_folder / "report")


@pytest.fixture
def own_run_folder(run_folder, tmp_path) -> Path:
    """A run folder that the test may change, with nothing that an earlier report left in it."""
    return shutil.copytree(run_folder, tmp_path / "run", ignore=shutil.ignore_patterns("report", CACHE))
