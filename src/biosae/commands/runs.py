"""Run folders: made anew by training, found again by the stages that follow."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from biosae.artefacts import atomic_write, read_json
from biosae.errors import ArtefactError

CONFIG = "config.yaml"
RUN = "run.json"


def new_run_folder(root: str, experiment: str) -> Path:
    """An empty folder ``root/experiment/<timestamp>``; a second run in the same minute gets ``-2`` appended.

    Raises
    ------
    ArtefactError
        If it cannot be made.
    """
    parent = Path(root) / experiment
    stamp = datetime.now().strftime("%b%d-%H-%M")
    try:
        parent.mkdir(parents=True, exist_ok=True)
        for attempt in range(1, 1000):
            folder = parent / (stamp if attempt == 1 else f"{stamp}-{attempt}")
            try:
                folder.mkdir()
                return folder
            except FileExistsError:
                continue
    except OSError as error:
        raise ArtefactError(f"cannot make a run folder in {parent}: {error.strerror}; set experiment.root=") from error
    raise ArtefactError(f"{parent} holds a thousand runs of this minute")


def find_run(root: str, experiment: str, timestamp: str) -> Path:
    """The folder of a finished training run; ``latest`` is the one that started last.

    Raises
    ------
    ArtefactError
        If there is none; the message names the runs that exist.
    """
    parent = Path(root) / experiment
    finished = {path.parent.name: path.parent for path in parent.glob(f"*/{RUN}")}
    if not finished:
        message = f"there is no finished run in {parent}; make one with `biosae train experiment.number={experiment}`"
        raise ArtefactError(message)
    if timestamp == "latest":
        return max(finished.values(), key=lambda folder: (read_run(folder)["created"], folder.name))
    if timestamp not in finished:
        existing = ", ".join(sorted(finished))
        raise ArtefactError(f"there is no finished run {timestamp} in {parent}; there are {existing}")
    return finished[timestamp]


def read_run(folder: Path) -> dict:
    """``run.json`` of a run."""
    return read_json(folder / RUN, made_by="biosae train")


def save_config(folder: Path, cfg: DictConfig) -> None:
    """The whole configuration with every default filled in."""
    with atomic_write(folder / CONFIG) as temporary:
        temporary.write_text(OmegaConf.to_yaml(cfg, resolve=True), encoding="utf-8")


def read_config(folder: Path) -> DictConfig:
    """The configuration that a run was trained with."""
    path = folder / CONFIG
    if not path.exists():
        raise ArtefactError(f"{path} does not exist; train again with `biosae train`")
    return OmegaConf.load(path)
