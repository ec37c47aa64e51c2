"""Runs that are cut off and typed again: nothing is lost, nothing is mixed, and the weights are those of one go."""

import errno
import os
import random
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import anndata
import numpy as np
import pytest

from biosae.errors import DataError
from biosae.pipeline import run as run_stages
from biosae.training.train_state import TrainState
from biosae.training.trainer import Trainer

TRAIN = (
    "data.n_cells=80", "training.batch_size=64", "training.epochs=3", "sae.hyperparams.k=8",
    "sae.dictionary_multiplier=1", "experiment.checkpoint_seconds=0.02", "experiment.eval_steps=50",
    "device=cpu",
)  # fmt: skip
SMALL = ("analysis.n_permutations=99",)
QUICK = (*TRAIN[:2], "training.epochs=1", *TRAIN[3:])


def start(folder, *words, program=("-m", "biosae")):
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, *program, *words]
    return subprocess.run(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True, check=False)


def finish(folder, *words):
    process = start(folder, *words)
    said = " ".join(process.stderr.split())
    assert process.returncode == 0, said
    return said


def cut_off(folder, pattern, count, delay, number, *words):
    """Runs a command that gets this signal after the count-th file of this name; returns what it said."""
    program = (Path(__file__).with_name("cut_off.py"), pattern, str(count), str(delay), str(int(number)))
    process = start(folder, *words, program=program)
    assert process.returncode == (130 if number == signal.SIGINT else -number), process.stderr
    return process.stderr


@pytest.mark.slow
def test_a_run_that_is_killed_again_and_again_ends_with_the_same_bits(tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir()
    parts.mkdir()
    finish(whole, "train", *TRAIN)
    moments = [
        ("*/shard-*", 1, 0.0, signal.SIGKILL),
        ("*/unfinished.json", 1, random.uniform(0, 0.1), signal.SIGKILL),
        ("*/checkpoint/*", random.randint(1, 3), random.uniform(0, 0.05), signal.SIGKILL),
        ("*/checkpoint/*", random.randint(1, 3), 0.0, signal.SIGKILL),
        ("*/checkpoint/*", 1, random.uniform(0, 0.05), signal.SIGINT),
    ]
    for moment in moments:
        said = cut_off(parts, *moment, "train", *TRAIN)
    assert "stopped at step" in said
    said = finish(parts, "train", *TRAIN)
    assert "continuing runs/0/" in said
    (one,), (other,) = ((folder / "runs" / "0").iterdir() for folder in (whole, parts))
    for name in ("sae.safetensors", "sae.yaml", "metrics.csv", "evaluation.json", "split.csv"):
        assert (one / name).read_bytes() == (other / name).read_bytes(), name
    assert sorted(path.name for path in one.iterdir()) == sorted(path.name for path in other.iterdir())
    assert not list(parts.rglob(".*"))  # neither locks nor halves of files


@pytest.mark.slow
def test_features_and_scores_that_are_killed_again_and_again_are_those_of_one_go(finished_run, tmp_path):
    shutil.copytree(finished_run[0].parents[1], tmp_path / "runs")
    (folder,) = (tmp_path / "runs" / "0").iterdir()
    finish(tmp_path, "analyze", *SMALL)  # other tests of this run leave other settings
    tables = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.csv")}
    whole = anndata.read_h5ad(folder / "features.h5ad")
    shutil.rmtree(folder / "token_codes")
    (folder / "features.h5ad").unlink()
    for pattern in ("*/token_codes/shard-*", "*/features.h5ad"):
        cut_off(tmp_path, pattern, 1, 0.0, signal.SIGKILL, "features", *SMALL)
        assert not (folder / "features.h5ad").exists()
    finish(tmp_path, "features")
    shutil.rmtree(folder / "tables")
    (folder / "scores.csv").unlink()
    for pattern in ("*/tables/*", "*/scores.csv"):
        cut_off(tmp_path, pattern, 1, 0.0, signal.SIGKILL, "analyze", *SMALL)
        assert not (folder / "scores.csv").exists()
    finish(tmp_path, "analyze", *SMALL)
    assert {path.relative_to(folder) for path in folder.rglob("*.csv")} == set(tables)
    assert [path for path, before in tables.items() if (folder / path).read_bytes() != before] == []
    again = anndata.read_h5ad(folder / "features.h5ad")
    assert (again.X != whole.X).nnz == 0
    assert all((again.layers[name] != whole.layers[name]).nnz == 0 for name in whole.layers)
    np.testing.assert_array_equal(again.obsm["X_model"], whole.obsm["X_model"])
    assert not list(tmp_path.rglob(".*.*"))


def interrupted_at(monkeypatch, step):
    """Training is cut off at this step, as by a signal, once."""
    ordinary, count = TrainState.step, iter(range(10**9))

    def interrupting(learner, x):
        if next(count) == step:
            raise KeyboardInterrupt
        ordinary(learner, x)

    monkeypatch.setattr(TrainState, "step", interrupting)


def run_folders(tmp_path):
    return sorted((tmp_path / "runs" / "0").iterdir())


def test_other_settings_and_a_finished_run_start_a_new_folder(biosae, tmp_path, monkeypatch):
    interrupted_at(monkeypatch, 20)
    assert biosae("train", *QUICK)[0] == 130
    (cut_off,) = run_folders(tmp_path)
    assert biosae("train", *QUICK, "seed=1")[0] == 0
    assert biosae("train", *QUICK, "experiment.resume=false")[0] == 0
    assert (cut_off / "unfinished.json").exists()
    code, said = biosae("train", *QUICK)
    assert (code, "continuing" in said, len(run_folders(tmp_path))) == (0, True, 3)
    before = {path: path.stat().st_mtime_ns for path in cut_off.iterdir()}
    assert biosae("train", *QUICK)[0] == 0
    assert len(run_folders(tmp_path)) == 4
    assert before == {path: path.stat().st_mtime_ns for path in cut_off.iterdir()}
    assert not (cut_off / "checkpoint").exists()


def test_run_goes_on_after_training_and_train_does_not_take_it_up(biosae, tmp_path, monkeypatch):
    def fail(*_):
        raise DataError("no room")

    words = ("run", *QUICK, "data.label_keys=[cell_type_coarse]", "stages=[train,features]")
    with monkeypatch.context() as broken:
        broken.setattr(run_stages, "encode", fail)
        code, said = biosae(*words)
        assert code == 1
        assert "no room" in said
    assert biosae("train", *words[1:-1])[0] == 0
    assert len(run_folders(tmp_path)) == 2
    with monkeypatch.context() as untrained:
        untrained.setattr(Trainer, "run", fail)
        code, said = biosae(*words)
    assert code == 0, said
    assert "continuing" in said
    assert len(run_folders(tmp_path)) == 2
    assert len(list(tmp_path.glob("runs/0/*/features.h5ad"))) == 1


def test_a_comparison_that_was_cut_off_ends_with_the_same_table(biosae, tmp_path, monkeypatch):
    words = ("compare", "data.n_cells=60", "training.batch_size=128", "training.epochs=2", "device=cpu")
    words += ("compare.saes=[topk,standard]", "compare.hyperparams.k=8", "compare.dictionary_multiplier=1")
    words += ("experiment.checkpoint_seconds=0.5",)
    assert biosae(*words)[0] == 0
    (whole,) = run_folders(tmp_path)
    interrupted_at(monkeypatch, 151)  # the second SAE has not learned from a batch that the first one has
    assert biosae(*words)[0] == 130
    code, said = biosae(*words)
    assert code == 0, said
    assert "continuing" in said
    (parts,) = set(run_folders(tmp_path)) - {whole}
    names = ("comparison.csv", "topk/sae.safetensors", "standard/sae.safetensors", "topk/metrics.csv")
    assert [name for name in names if (whole / name).read_bytes() != (parts / name).read_bytes()] == []
    assert not list(parts.rglob("epochs.json"))


def test_a_folder_in_use_is_not_taken_up_and_not_written(biosae, tmp_path, monkeypatch):
    from biosae.locks import locked

    interrupted_at(monkeypatch, 20)
    assert biosae("train", *QUICK)[0] == 130
    (cut_off,) = run_folders(tmp_path)
    with locked(cut_off):
        assert biosae("train", *QUICK)[0] == 0
        assert len(run_folders(tmp_path)) == 2
    (finished,) = set(run_folders(tmp_path)) - {cut_off}
    with locked(finished):
        code, said = biosae("features")
        assert code == 1
        assert f"{finished.name} is in use by process {os.getpid()}" in said


def test_a_damaged_checkpoint_is_named(biosae, tmp_path, monkeypatch):
    interrupted_at(monkeypatch, 20)
    assert biosae("train", *QUICK)[0] == 130
    (moments,) = tmp_path.glob("runs/0/*/checkpoint/*/optimizer.safetensors")
    content = bytearray(moments.read_bytes())
    content[-100] ^= 1
    moments.write_bytes(content)
    code, said = biosae("train", *QUICK)
    assert code == 1
    assert "optimizer.safetensors is damaged; remove" in said


def test_a_disk_that_fills_in_training_is_named_and_with_space_the_run_goes_on(biosae, tmp_path, monkeypatch):
    words = (*QUICK, "experiment.checkpoint_seconds=0")
    ordinary, synced = os.fsync, iter(range(10**9))

    def full(handle):
        if next(synced) >= 50:
            raise OSError(errno.ENOSPC, "No space left on device")
        ordinary(handle)

    with monkeypatch.context() as disk:
        disk.setattr(os, "fsync", full)
        code, said = biosae("train", *words)
    assert code == 1
    assert "cannot write runs/0/" in said and said.endswith("No space left on device")
    assert not list(tmp_path.glob("runs/0/*/checkpoint/.*"))
    code, said = biosae("train", *words)
    assert code == 0 and "continuing" in said
    assert biosae("train", *words, "experiment.number=1")[0] == 0
    parts, whole = (next(tmp_path.glob(f"runs/{number}/*/sae.safetensors")).read_bytes() for number in "01")
    assert parts == whole


FULL = """
import resource, sys
from biosae.__main__ import main
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
sys.argv = ["biosae", *sys.argv[1:]]
main()
"""


@pytest.mark.slow
def test_a_disk_that_fills_later_is_named_and_nothing_half_written_is_left(finished_run, tmp_path):
    shutil.copytree(finished_run[0].parents[1], tmp_path / "runs")
    (folder,) = (tmp_path / "runs" / "0").iterdir()
    made = {"report": ["report"], "analyze": ["tables", "scores.csv"], "features": ["token_codes", "features.h5ad"]}
    for command, names in made.items():
        for path in (folder / name for name in names):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        process = start(tmp_path, command, *SMALL, program=("-c", FULL))
        said = " ".join(process.stderr.split())
        assert process.returncode == 1, said
        assert re.search(r"error: cannot write (in )?runs/0/.*: File too large$", said), said
        assert not (folder / names[-1]).exists()  # the last that is written
        assert not list(folder.rglob(".*"))


def test_folders_that_cannot_be_written_are_named_before_the_work(biosae, tmp_path, monkeypatch):
    code, said = biosae("train", *QUICK, "buffer.cache=/dev/null/activations")
    assert code == 1 and "cannot write in /dev/null/activations/" in said and said.endswith("Not a directory")
    assert not list(tmp_path.glob("runs/0/*"))
    assert biosae("train", *QUICK)[0] == 0
    (run,) = tmp_path.glob("runs/0/*")
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    ordinary = os.open

    def read_only(path, flags, *mode, **others):
        if flags & (os.O_WRONLY | os.O_RDWR) and str(path).startswith("runs"):
            raise OSError(errno.EROFS, "Read-only file system", str(path))
        return ordinary(path, flags, *mode, **others)

    with monkeypatch.context() as disk:
        disk.setattr(os, "open", read_only)
        for words in (("features",), ("train", *QUICK, "experiment.resume=false")):
            code, said = biosae(*words)
            assert code == 1
            assert said.endswith("Read-only file system")
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
