"""Run folders: made anew by training or taken up again, found by the stages that follow."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from biosae.artefacts import atomic_write, read_json, remove_temporary, write_json
from biosae.cli.config.older import filled
from biosae.compat import current_settings
from biosae.distributed.processes import current_group
from biosae.errors import ArtefactError, SettingError
from biosae.locks import locked
from biosae.registry import refuse_code

logger = logging.getLogger(__name__)

CONFIG = "config.yaml"
RUN = "run.json"
UNFINISHED = "unfinished.json"


@contextmanager
def open_run_folder(experiment: DictConfig, identity: str, takes_trained: bool = False) -> Iterator[Path]:
    """A locked folder to train in: that of a run of the same identity that was cut off, or else a new one.

    Of several processes the first opens it for all.
    What is cut off holds ``unfinished.json``, until `finish`; a folder that another process has locked is not taken.

    Parameters
    ----------
    identity
        A hash of all that decides the result.
    takes_trained
        Also a run of which only stages after training are missing.
    """
    group = current_group()
    with ExitStack() as stack:
        if not group.is_first:
            yield group.broadcast()
            return
        folder = _cut_off(experiment, identity, takes_trained, stack) if experiment.resume else None
        if folder is None:
            folder = new_run_folder(experiment.root, experiment.number)
            stack.enter_context(locked(folder))
            write_json(folder / UNFINISHED, {"identity": identity, "started": datetime.now().isoformat()})
            logger.info("run folder %s", folder)
        yield group.broadcast(folder)


def _cut_off(experiment: DictConfig, identity: str, takes_trained: bool, stack: ExitStack) -> Path | None:
    """The newest unfinished run of this identity, locked by ``stack``."""
    for marker in _markers(Path(experiment.root, experiment.number), identity):
        with ExitStack() as attempt:
            try:
                attempt.enter_context(locked(marker.parent))
            except ArtefactError:  # in use, or of somebody else
                continue
            if marker.exists() and (takes_trained or not is_trained(marker.parent)):  # as it is now that we have it
                stack.push(attempt.pop_all())
                remove_temporary(marker.parent)
                logger.info("continuing %s, which was cut off (experiment.resume=false starts anew)", marker.parent)
                return marker.parent
    return None


def _markers(parent: Path, identity: str) -> list[Path]:
    """Those of unfinished runs of this identity, the newest first."""
    found = []
    for marker in parent.glob(f"*/{UNFINISHED}"):
        with suppress(ArtefactError):  # finished while we looked
            content = read_json(marker, made_by="biosae train")
            if content["identity"] == identity:
                found.append((content["started"], marker))
    return [marker for _, marker in sorted(found, reverse=True)]


def finish(folder: Path) -> None:
    """Marks a run as one that nothing is missing from; it will not be taken up again."""
    (folder / UNFINISHED).unlink(missing_ok=True)


def is_trained(folder: Path) -> bool:
    """Whether training in this folder came to its end."""
    return (folder / RUN).exists()


@contextmanager
def open_run(cfg: DictConfig) -> Iterator[Path]:
    """The folder of the finished training that ``sae_checkpoint`` names, locked for a stage that writes there."""
    group = current_group()
    folder = find_run(cfg.experiment.root, cfg.sae_checkpoint.experiment, cfg.sae_checkpoint.timestamp)
    with locked(folder) if group.is_first else nullcontext():
        if group.is_first:
            remove_temporary(folder)  # of a stage that was killed
        yield folder


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
        raise ArtefactError(f"there is no finished run in {parent}; {_what_there_is(parent)}")
    if timestamp == "latest":
        return max(finished.values(), key=lambda folder: (read_run(folder)["created"], folder.name))
    if timestamp not in finished:
        existing = ", ".join(sorted(finished))
        raise ArtefactError(f"there is no finished run {timestamp} in {parent}; there are {existing}")
    return finished[timestamp]


def _what_there_is(parent: Path) -> str:
    """Where the run may be that was looked for, or else how one is made."""
    compared = sorted(path.parent for path in parent.glob(f"*/*/{RUN}"))
    if compared:
        last = f"sae_checkpoint.experiment={parent.name}/{compared[-1].parent.name}"
        return f"of a comparison one is named as {last} sae_checkpoint.timestamp={compared[-1].name}"
    unfinished = sorted(marker.parent.name for marker in parent.glob(f"*/{UNFINISHED}"))
    if unfinished:
        return f"{', '.join(unfinished)} is unfinished; unless it still runs, its command typed again goes on with it"
    others = sorted({path.parent.parent.name for path in parent.parent.glob(f"*/*/{RUN}")})
    if others:
        return f"there are finished runs with experiment.number={' or '.join(others)}"
    return f"make one with `biosae train experiment.number={parent.name}`, or name its folder as experiment.root="


def read_run(folder: Path) -> dict:
    """``run.json`` of a run."""
    return read_json(folder / RUN, made_by="biosae train")


def save_config(folder: Path, cfg: DictConfig) -> None:
    """The whole configuration with every default filled in."""
    with atomic_write(folder / CONFIG) as temporary:
        temporary.write_text(OmegaConf.to_yaml(cfg, resolve=True), encoding="utf-8")


def read_config(folder: Path) -> DictConfig:
    """The configuration that a run was trained with; keys that its version did not know have today's defaults."""
    path = folder / CONFIG
    if not path.exists():
        raise ArtefactError(f"{path} does not exist; train again with `biosae train`")
    try:
        return filled(OmegaConf.create(_plain_settings(OmegaConf.load(path))))
    except (YAMLError, OSError, ValueError, OmegaConfBaseException) as error:
        reason = " ".join(str(error).split())
        raise ArtefactError(f"{path} cannot be read ({reason}); train again with `biosae train`") from error


def _plain_settings(cfg: DictConfig) -> dict[str, Any]:
    """Return the sections of a configuration file, in which nothing is a call or is looked up elsewhere."""
    content = OmegaConf.to_container(cfg, resolve=False)
    if not isinstance(content, dict):
        raise SettingError(f"it must hold sections of settings, got {type(content).__name__}")
    content = current_settings(content)
    refuse_code(content)
    return content
