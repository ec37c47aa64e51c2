"""Checkpoints of interrupted runs: the SAE, the optimiser and the counters, never a pickle."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from safetensors.torch import load_file, save_file

from biosae.artefacts import atomic_folder, atomic_write, content_hash, read_json, write_json
from biosae.errors import ArtefactError, SettingError
from biosae.saes import files

from .train_state import TrainState

FOLDER = "checkpoint"
STATE = "state.json"
TENSORS = "optimizer.safetensors"
STATE_KEYS = {"training": dict, "sae": dict, "run": dict, "learner": dict, "rows": [dict], "hashes": {str: str}}


def latest_step(folders: Sequence[Path]) -> int | None:
    """Return the last step of which every run has a checkpoint; None when there is none."""
    common = set.intersection(*(_steps(folder) for folder in folders))
    return max(common, default=None)


def save_checkpoint(folder: Path, step: int, learner: TrainState, rows: list[dict], seed: int) -> None:
    """Write ``folder/checkpoint/<step>``.

    Parameters
    ----------
    step
        Step of the pass, which continues when an SAE in it has run out of patience.
    rows
        Rows of metrics.csv.
    """
    tensors, numbers = learner.state()
    with atomic_folder(_place(folder, step)) as temporary:
        files.save(learner.sae, temporary)
        with atomic_write(temporary / TENSORS) as path:
            save_file({name: tensor.contiguous().cpu() for name, tensor in tensors.items()}, path)
        hashes = {name: content_hash(temporary / name) for name in (files.WEIGHTS, TENSORS)}
        write_json(temporary / STATE, {**_identity(learner, seed), "learner": numbers, "rows": rows, "hashes": hashes})


def drop_checkpoints(folder: Path, but: int | None = None) -> None:
    """Remove the checkpoints of a run except the one of step ``but``."""
    for path in (Path(folder) / FOLDER).glob("*"):
        if path.name != str(but):
            shutil.rmtree(path, ignore_errors=True)
    if but is None:
        shutil.rmtree(Path(folder) / FOLDER, ignore_errors=True)


def restore_checkpoint(folder: Path, step: int, learner: TrainState, seed: int) -> list[dict]:
    """Restore the state of a checkpoint and return the rows of metrics.csv until then.

    Raises
    ------
    ArtefactError
        When there is no checkpoint or it is damaged.
    SettingError
        When it comes from a run with other settings.
    """
    path = _place(folder, step)
    state = read_json(path / STATE, "the train stage", STATE_KEYS)
    for section, wanted in _identity(learner, seed).items():
        _check_same(section, state[section], wanted)
    for name, expected in state["hashes"].items():
        if not (path / name).exists() or content_hash(path / name) != expected:
            raise ArtefactError(f"{path / name} is damaged; remove {path} and start the run again")
    learner.sae.load_state_dict(files.load(path).state_dict())
    learner.restore(load_file(path / TENSORS), state["learner"])
    return state["rows"]


def _place(folder: Path, step: int) -> Path:
    return Path(folder) / FOLDER / str(step)


def _steps(folder: Path) -> set[int]:
    return {int(path.name) for path in (Path(folder) / FOLDER).glob("*") if path.name.isdigit()}


def _identity(learner: TrainState, seed: int) -> dict[str, dict]:
    """Return the settings that must be the same in a run that resumes, as JSON holds them."""
    identity = {"training": asdict(learner.settings), "sae": learner.sae.config(), "run": {"seed": seed}}
    return json.loads(json.dumps(identity))


def _check_same(section: str, saved: dict, wanted: dict) -> None:
    for name in wanted:
        if saved.get(name) != wanted[name]:
            message = f"the checkpoint was made with {section} setting {name}={saved.get(name)}, this run has"
            raise SettingError(f"{message} {wanted[name]}; resume with the same settings or start a new run")
