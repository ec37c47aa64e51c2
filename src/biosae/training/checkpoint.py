"""What an interrupted run resumes from: the SAE, the optimiser and the counters, never a pickle."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from safetensors.torch import load_file, save_file

from biosae.artefacts import atomic_folder, read_json, write_json
from biosae.errors import ArtefactError, SettingError
from biosae.saes import files

from .learner import Learner

FOLDER = "checkpoint"
STATE = "state.json"
TENSORS = "optimizer.safetensors"


def save_checkpoint(folder: Path, learner: Learner, rows: list[dict], seed: int) -> None:
    """Replaces ``folder/checkpoint`` as a whole; ``rows`` are those of metrics.csv."""
    tensors, numbers = learner.state()
    identity = _identity(learner, seed)
    with atomic_folder(Path(folder) / FOLDER) as temporary:
        files.save(learner.sae, temporary)
        save_file({name: tensor.contiguous().cpu() for name, tensor in tensors.items()}, temporary / TENSORS)
        write_json(temporary / STATE, {**identity, "learner": numbers, "rows": rows})


def restore_checkpoint(folder: Path, learner: Learner, seed: int) -> list[dict]:
    """Puts a learner where the checkpoint left it and gives the rows of metrics.csv until then.

    Raises
    ------
    ArtefactError
        When there is no checkpoint or it is damaged.
    SettingError
        When it comes from a run with other settings.
    """
    path = Path(folder) / FOLDER
    state = read_json(path / STATE, made_by="biosae train")
    for group, wanted in _identity(learner, seed).items():
        _check_same(group, state[group], wanted)
    learner.sae.load_state_dict(files.load(path, learner.sae.W_dec.device).state_dict())
    try:
        learner.restore(load_file(path / TENSORS), state["learner"])
    except (OSError, KeyError) as error:
        raise ArtefactError(f"{path} is damaged ({error}); remove it and start the run again") from error
    return state["rows"]


def _identity(learner: Learner, seed: int) -> dict[str, dict]:
    """What must be the same in the run that resumes, as JSON holds it."""
    identity = {"training": asdict(learner.settings), "sae": learner.sae.settings(), "run": {"seed": seed}}
    return json.loads(json.dumps(identity))


def _check_same(group: str, saved: dict, wanted: dict) -> None:
    for name in wanted:
        if saved.get(name) != wanted[name]:
            message = f"the checkpoint was made with {group} setting {name}={saved.get(name)}, this run has"
            raise SettingError(f"{message} {wanted[name]}; resume with the same settings or start a new run")
