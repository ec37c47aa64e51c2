"""`torchrun -m biosae train`: the result of one process, cut off and continued, and errors told once."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

SMALL = (
    "data.n_cells=80", "training.batch_size=130", "training.epochs=1", "sae.hyperparams.k=8",
    "training.normaliser_tokens=4096", "data.label_keys=[]", "buffer.dtype=float32", "buffer.cache=cache",
)  # fmt: skip
ONE = ()
TWO = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")


def start(folder, *words):
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, *words], cwd=folder, env=environment, stderr=subprocess.PIPE, text=True)


def finish(process):
    said = process.communicate(timeout=120)[1]
    return process.returncode, said


def errors(said):
    return [line for line in said.splitlines() if line.startswith("error:")]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    code, said = finish(start(folder, "-m", "biosae", "train", *SMALL))
    assert code == 0, said
    return next((folder / "runs" / "0").iterdir()), folder / "cache"


@pytest.mark.parametrize(("first", "then"), [(TWO, ONE), (ONE, TWO)])
def test_a_run_cut_off_and_continued_makes_the_run_of_one_process(first, then, alone, tmp_path):
    """About 70 steps: Adam carries the rounding of other sums into the weights, held-out numbers agree closely."""
    command = ("-m", "biosae", "train", *SMALL, "experiment.checkpoint_seconds=0.2")
    first = start(tmp_path, *first, *command)
    while not list(tmp_path.glob("runs/0/*/checkpoint/[1-9]*")):
        assert first.poll() is None, first.communicate()[1]
        time.sleep(0.02)
    first.send_signal(signal.SIGTERM)
    code, said = finish(first)
    assert code != 0
    assert said.count("the same command continues there") == 1
    code, said = finish(start(tmp_path, *then, *command))
    assert code == 0, said
    assert said.count("continuing") == 1
    (run,) = (tmp_path / "runs" / "0").iterdir()
    one, cache = alone
    assert sorted(path.name for path in run.iterdir()) == sorted(path.name for path in one.iterdir())
    found, expected = (json.loads((folder / "evaluation.json").read_text()) for folder in (run, one))
    n_dead, wanted = (1024 * numbers.pop("dead_fraction") for numbers in (found, expected))
    assert abs(n_dead - wanted) <= 3
    assert found == pytest.approx(expected, rel=1e-3)
    weights = [load_file(folder / "sae.safetensors")["W_dec"] for folder in (run, one)]
    assert torch.cosine_similarity(*weights, dim=1).min() > 0.99
    shards = [sorted(path.read_bytes() for path in place.glob("*/shard-*")) for place in (tmp_path / "cache", cache)]
    assert shards[0] == shards[1]


def test_a_sweep_learns_in_one_pass_in_two_processes(alone, tmp_path):
    words = ("-m", *SMALL[:-1], f"buffer.cache={alone[1]}", "training.max_tokens=1000", "sae.hyperparams.k=4,8")
    code, said = finish(start(tmp_path, *TWO, "-m", "biosae", "train", *words))
    assert code == 0, said
    assert said.count("pass 1 of 1: 2 SAEs on the same activations") == 1
    saes = sorted(path.read_text() for path in tmp_path.glob("runs/0/*/sae.yaml"))
    assert ["\nk: 4\n" in saes[0], "\nk: 8\n" in saes[1]] == [True, True]


def test_a_streamed_run_learns_what_one_process_learns(tmp_path):
    """Eight steps and an evaluation on the way; the processes start and end together, whoever records the results."""
    words = (
        *SMALL[:-2],
        "buffer=stream",
        "training.max_tokens=1000",
        "training.eval_every=3",
        "buffer.buffer_tokens=700",
    )
    weights, measured = {}, {}
    for name, processes in (("one", ONE), ("two", TWO)):
        (tmp_path / name).mkdir()
        command = ("-m", "biosae", "train", *words)
        code, said = finish(start(tmp_path / name, *processes, *command))
        assert code == 0, said
        (sae,) = tmp_path.glob(f"{name}/runs/0/*/sae.safetensors")
        weights[name] = load_file(sae)
        measured[name] = json.loads(sae.with_name("evaluation.json").read_text())
    for key, expected in weights["one"].items():
        torch.testing.assert_close(weights["two"][key], expected, atol=1e-4, rtol=1e-3, msg=key)
    assert measured["two"] == pytest.approx(measured["one"], rel=1e-3)


@pytest.mark.parametrize("who", ["second", "all"])
def test_an_error_is_told_once_and_ends_all_processes(who, tmp_path):
    code, said = finish(start(tmp_path, *TWO, str(Path(__file__).with_name("failing_process.py")), who))
    assert code == 1
    assert errors(said) == ["error: a file is not here"]
