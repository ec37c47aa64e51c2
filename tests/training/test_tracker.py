import subprocess
import sys

import pytest

from biosae import errors
from biosae.errors import MissingExtraError, SettingError
from biosae.training.tracker import TensorboardTracker, WandbTracker


def logged(tracker, folder):
    tracker.start(folder, {"seed": 3})
    tracker.log({"train/loss": 0.5}, step=1)
    tracker.log({"train/loss": 0.25}, step=2)
    tracker.close()


def test_tensorboard_writes_the_numbers(tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    logged(TensorboardTracker(), tmp_path)
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(e.step, e.value) for e in events.Scalars("train/loss")] == [(1, 0.5), (2, 0.25)]


def test_wandb_offline_keeps_a_record_in_the_run_folder(tmp_path):
    pytest.importorskip("wandb")
    # In a process of its own: wandb's service finishes writing when the process ends.
    code = """
import sys, pathlib
from biosae.training.tracker import WandbTracker
tracker = WandbTracker(mode="offline", project="test")
tracker.start(pathlib.Path(sys.argv[1]), {"seed": 3})
tracker.log({"train/loss": 0.5}, step=1)
tracker.close()
"""
    subprocess.run([sys.executable, "-c", code, tmp_path], check=True, capture_output=True)
    (record,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    assert b"train/loss" in record.read_bytes()


def test_wandb_keeps_two_runs_of_one_pass_apart(tmp_path):
    pytest.importorskip("wandb")
    code = """
import sys, pathlib
from biosae.training.tracker import WandbTracker
trackers = {name: WandbTracker(mode="offline", project="test") for name in ("one", "two")}
for name, tracker in trackers.items():
    tracker.start(pathlib.Path(sys.argv[1], name), {})
for name, tracker in trackers.items():
    tracker.log({f"train/of-{name}": 0.5}, step=1)
for tracker in trackers.values():
    tracker.close()
"""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    subprocess.run([sys.executable, "-c", code, tmp_path], check=True, capture_output=True)
    for name in ("one", "two"):
        (record,) = tmp_path.glob(f"{name}/wandb/offline-run-*/run-*.wandb")
        assert f"of-{name}".encode() in record.read_bytes()


def test_a_bad_mode_is_refused():
    with pytest.raises(SettingError, match="must be offline, online or disabled, got on"):
        WandbTracker(mode="on", project="test")


def test_a_missing_extra_names_the_line_that_installs_it():
    with pytest.raises(MissingExtraError, match=r"pip install 'biosae\[tracking\]'"):
        errors.require("no_such_module_anywhere", "tracking")
