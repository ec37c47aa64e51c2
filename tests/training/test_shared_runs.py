"""Two processes that share every batch learn what one process learns."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from .shared_runs import CASES, train


@pytest.fixture(scope="module")
def shared(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("shared")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    script = str(Path(__file__).with_name("shared_runs.py"))
    done = subprocess.run([*command, script, str(out)], env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    return out


@pytest.mark.parametrize("name", CASES)
def test_two_processes_learn_what_one_learns(name, shared, tmp_path):
    """Uneven shares must neither hang nor count their tokens apart; the last batch leaves one process with none.

    Sums of float32 in another order: 14 steps of Adam carry their rounding to 1e-5 of the weights.
    """
    (tmp_path / name).mkdir()
    alone = json.loads(json.dumps(train(name, tmp_path)))
    expected = load_file(tmp_path / f"{name}-0.safetensors")
    for rank in range(2):
        found = load_file(shared / f"{name}-{rank}.safetensors")
        for key in expected:
            torch.testing.assert_close(
                found[key], expected[key], atol=1e-4, rtol=1e-3, msg=lambda m, key=key: f"{key}: {m}"
            )
        rows = json.loads((shared / f"{name}-{rank}.json").read_text())
        assert [sorted(row) for row in rows] == [sorted(row) for row in alone]
        for row, wanted in zip(rows, alone, strict=True):
            assert {key: value for key, value in row.items() if key != "split"} == pytest.approx(
                {key: value for key, value in wanted.items() if key != "split"}, rel=1e-3, abs=1e-6
            )


@pytest.mark.parametrize("name", CASES)
def test_copies_are_equal_to_the_bit(name, shared):
    first, second = (load_file(shared / f"{name}-{rank}.safetensors") for rank in range(2))
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_only_the_first_process_writes(shared):
    assert (shared / "topk" / "metrics.csv").exists()
    assert not list(shared.glob("*/.*"))
