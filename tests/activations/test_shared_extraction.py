"""Processes that share the shards among them leave the files of one process."""

import os
import subprocess
import sys
from pathlib import Path

from biosae.distributed.processes import SINGLE

from .shared_extraction import work


def files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_three_processes_leave_the_bytes_of_one(tmp_path):
    """Five shards: two processes make two each, one makes one."""
    work(tmp_path / "one", SINGLE)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=3"]
    script = str(Path(__file__).with_name("shared_extraction.py"))
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run([*command, script, str(tmp_path / "three")], env=environment, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    alone, shared = files(tmp_path / "one"), files(tmp_path / "three")
    assert sum("store" in name and "shard" in name for name in alone) == 5
    assert list(alone) and sorted(alone) == sorted(shared)
    different = [name for name in alone if alone[name] != shared[name]]
    assert set(different) <= {"features.h5ad"}  # HDF5 keeps times
