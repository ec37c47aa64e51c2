"""Processes that share out the model give each other the activations of one process."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from biosae.distributed.processes import SINGLE, ReplicaGroup

from .shared_stream import READS, draw, read, read_by_threads, train


def torchrun(*words, n):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={n}"]
    path = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": path}
    command += ["-m", "activations.shared_stream", *map(str, words)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module", params=[2, 3])
def shared(request, tmp_path_factory):
    out = tmp_path_factory.mktemp("shared")
    done = torchrun(out, n=request.param)
    assert done.returncode == 0, done.stderr
    return out, request.param


@pytest.fixture(autouse=True)
def one_thread():
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)


@pytest.mark.parametrize("name", READS)
def test_batches_are_those_of_one_process_to_the_bit(name, shared):
    """The model sees the same padded batches, so that not even sums of float32 differ."""
    out, n = shared
    expected, _ = read(name, SINGLE)
    assert len(expected) > 2
    for rank in range(n):
        found = load_file(out / f"{name}-{rank}.safetensors")
        del found["samples"]
        takers = ReplicaGroup(rank, n) if READS[name][-1] else SINGLE
        assert len(found) == len(expected)
        for key, batch in zip(sorted(found), expected, strict=True):
            assert torch.equal(found[key], takers.shard_rows(batch))


def n_tokens(samples):
    return int(draw().lengths[list(samples)].sum())


@pytest.mark.parametrize("name", [*READS, "trained"])
def test_the_model_reads_every_sample_in_one_process(name, shared, tmp_path):
    """Trainings also read for the normaliser and at every evaluation."""
    out, n = shared
    alone = read(name, SINGLE)[1] if name in READS else train(tmp_path, SINGLE)
    of_ranks = [load_file(out / f"{name}-{rank}.safetensors")["samples"].tolist() for rank in range(n)]
    assert sum(map(Counter, of_ranks), Counter()) == Counter(alone)
    if name not in READS or READS[name][3] == 300:  # some seven batches of the model a buffer, in others fewer
        shares = [n_tokens(samples) / n_tokens(alone) for samples in of_ranks]
        assert shares == pytest.approx([1 / n] * n, abs=0.12)


def test_training_learns_what_it_learns_in_one_process(shared, tmp_path):
    """38 steps with sums in another order; the weights are about 0.3."""
    train(tmp_path, SINGLE)
    expected, found = (load_file(folder / "sae.safetensors") for folder in (tmp_path, shared[0] / "trained"))
    assert expected.keys() == found.keys()
    for key in expected:
        torch.testing.assert_close(
            found[key], expected[key], atol=1e-4, rtol=1e-3, msg=lambda m, key=key: f"{key}: {m}"
        )


def test_threads_read_two_sources_while_others_sum(shared):
    """Sums in float64, of shares."""
    out, n = shared
    for rank in range(n):
        found = load_file(out / f"threads-{rank}.safetensors")["sums"]
        torch.testing.assert_close(found, read_by_threads(SINGLE))


def test_a_process_that_fails_ends_the_others():
    done = torchrun("fail", n=2)
    assert done.returncode != 0
    assert "the model is out of memory" in done.stderr
    assert "LostRankError: another process of this run ended" in done.stderr
