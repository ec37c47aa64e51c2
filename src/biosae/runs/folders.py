"""Run folders: made anew by training or taken up again, found by the stages that follow."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from datetime import datetime
from pathlib import Path

from biosae.artefacts import read_json, remove_temporary, write_json
from biosae.distributed.processes import current_group
from biosae.errors import ArtefactError
from biosae.locks import locked
from biosae.run_record import RUN, time_of

from .settings import ExperimentSettings, RunChoice

logger = logging.getLogger(__name__)

UNFINISHED = "unfinished.json"


@contextmanager
def open_run_folder(experiment: ExperimentSettings, identity: str, takes_trained: bool = False) -> Iterator[Path]:
    """Open a locked folder to train in: that of a run of the same identity that was cut off, or else a new one.

    With several processes, the first opens it for all. A run that was cut off holds ``unfinished.json``, which
    `mark_finished` removes. A folder that another process has locked is not taken.

    Parameters
    ----------
    identity
        A hash of everything that decides the result.
    takes_trained
        Whether a run that lacks only stages after training is continued, too.
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


def _cut_off(experiment: ExperimentSettings, identity: str, takes_trained: bool, stack: ExitStack) -> Path | None:
    """Return the newest unfinished run of this identity, locked by ``stack``."""
    for marker in _markers(Path(experiment.root, experiment.number), identity):
        with ExitStack() as attempt:
            try:
                attempt.enter_context(locked(marker.parent))
            except ArtefactError:  # in use, or of somebody else
                continue
            if marker.exists() and (takes_trained or not is_trained(marker.parent)):  # as it is now that we have it
                stack.push(attempt.pop_all())
                remove_temporary(marker.parent)
                logger.info("continuing %s, which was cut off (resume=false starts a new run)", marker.parent)
                return marker.parent
    return None


def _markers(parent: Path, identity: str) -> list[Path]:
    """Return the markers of unfinished runs of this identity, the newest first."""
    found = []
    for marker in parent.glob(f"*/{UNFINISHED}"):
        with suppress(ArtefactError):  # finished while we looked
            content = read_json(marker, "the train stage", {"identity": str, "started": str})
            if content["identity"] == identity:
                found.append((content["started"], marker))
    return [marker for _, marker in sorted(found, reverse=True)]


def mark_finished(folder: Path) -> None:
    """Mark a run as complete; it will not be continued."""
    (folder / UNFINISHED).unlink(missing_ok=True)


def is_trained(folder: Path) -> bool:
    """Return whether training in this folder came to its end."""
    return (folder / RUN).exists()


@contextmanager
def open_run(experiment: ExperimentSettings, chosen: RunChoice) -> Iterator[Path]:
    """Open the folder of a finished training run, locked for a stage that writes there."""
    group = current_group()
    folder = find_run(experiment, chosen)
    with locked(folder) if group.is_first else nullcontext():
        if group.is_first:
            remove_temporary(folder)  # of a stage that was killed
        yield folder


def new_run_folder(root: str, experiment: str) -> Path:
    """Make an empty folder ``root/experiment/<timestamp>``; a second run in the same minute gets ``-2`` appended.

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
        message = f"cannot make a run folder in {parent}: {error.strerror}; choose another root"
        raise ArtefactError(message, argument="experiment.root") from error
    raise ArtefactError(f"could not create a unique run folder in {parent}: 1,000 exist for this minute")


def find_run(experiment: ExperimentSettings, chosen: RunChoice) -> Path:
    """Return the folder of a finished training run."""
    return run_folder(experiment.root, chosen.experiment or experiment.number, chosen.timestamp)


def run_folder(root: str, experiment: str, timestamp: str = "latest") -> Path:
    """Return the folder of a finished training run; ``latest`` is the one that started last.

    Raises
    ------
    ArtefactError
        If there is none; the message names the runs that exist.
    """
    parent = Path(root) / experiment
    finished = {path.parent.name: path.parent for path in parent.glob(f"*/{RUN}")}
    if not finished:
        raise _no_run(parent)
    if timestamp == "latest":
        return max(finished.values(), key=lambda folder: (time_of(folder), folder.name))
    if timestamp not in finished:
        existing = ", ".join(sorted(finished))
        raise ArtefactError(f"there is no finished run {timestamp} in {parent}; there are {existing}")
    return finished[timestamp]


def _no_run(parent: Path) -> ArtefactError:
    """Return an error that says where the run may be that was looked for, or else how one is made."""
    message = f"there is no finished run in {parent}"
    compared = sorted(path.parent for path in parent.glob(f"*/*/{RUN}"))
    if compared:
        last = f"experiment={parent.name}/{compared[-1].parent.name}"
        message = f"{message}; a run of a comparison is chosen by {last} and its name as timestamp, {compared[-1].name}"
        return ArtefactError(message, argument="sae_checkpoint.experiment")
    unfinished = ", ".join(sorted(marker.parent.name for marker in parent.glob(f"*/{UNFINISHED}")))
    if unfinished:
        advice = "unless it still runs, the same training started again continues it"
        return ArtefactError(f"{message}; {unfinished} is unfinished; {advice}")
    others = " or ".join(sorted({path.parent.parent.name for path in parent.parent.glob(f"*/*/{RUN}")}))
    if others:
        return ArtefactError(f"{message}; there are finished runs with number={others}", argument="experiment.number")
    return ArtefactError(
        f"{message}; make one with the train stage, or choose another root", argument="experiment.root"
    )
