"""The training loop: one pass over the activations serves every SAE in it."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from biosae.activations.source import ActivationSource
from biosae.distributed.processes import SINGLE, ReplicaGroup
from biosae.errors import ArtefactError, SettingError, TrainingError
from biosae.progress import progress_bar
from biosae.saes import files
from biosae.saes.base import SAE

from .checkpoint import drop_checkpoints, latest_step, restore_checkpoint, save_checkpoint
from .evaluate import evaluate_each
from .metrics import write_metrics
from .settings import TrainerSettings
from .train_state import TrainState
from .training_run import TrainingRun
from .transfer import on_device

SHARED = ("batch_size", "epochs", "max_tokens", "eval_every", "normaliser_tokens")
"""Settings that SAEs trained in one pass have in common."""

KEPT = "kept"
"""Folder of the SAEs of earlier steps in a run folder."""

SHOWN = (("held-out fvu", "fvu"), ("l0", "l0"))


class Trainer:
    """Trains SAEs on one source of activations.

    Every ``eval_every`` steps each is evaluated on ``validation`` and its metrics.csv is written. `run` with
    ``resume`` continues from the last checkpoint, bit by bit on the same kind of machine.

    Parameters
    ----------
    runs
        The SAEs, all on one device. They may differ in everything but the settings in `SHARED`, and each is trained
        as it would be alone.
    source, validation
        Activations to train on, and held-out ones.
    seed
        Seed of the order of the activations.
    checkpoint_seconds
        Seconds between checkpoints; 0 writes one after every step, None none.
    group
        Processes that share every batch. The first one writes; all return the result of a single process.
    """

    def __init__(
        self,
        runs: Sequence[TrainingRun],
        source: ActivationSource,
        validation: ActivationSource,
        seed: int = 0,
        checkpoint_seconds: float | None = None,
        group: ReplicaGroup = SINGLE,
    ):
        self.runs, self.source, self.validation, self.seed = list(runs), source, validation, seed
        self.checkpoint_seconds, self.group = checkpoint_seconds, group
        self.settings = _common_settings(self.runs)
        self.device = self.runs[0].sae.W_dec.device
        self.total_steps = self.settings.total_steps(source.n_tokens)
        self.total_tokens = self.settings.total_tokens(source.n_tokens)
        if self.settings.batch_size < group.size:
            message = f"batch_size must be at least the number of processes, {group.size}"
            raise SettingError(f"{message}, got {self.settings.batch_size}", argument="batch_size")
        self.n_steps = 0
        for run in self.runs:
            if run.sae.d_in != source.d_in:
                raise SettingError(f"the SAE has d_in={run.sae.d_in}, the activations have width {source.d_in}")

    def run(self, resume: bool = False) -> list[dict[str, float]]:
        """Train to the end, save every SAE into its folder and return their final held-out numbers.

        Raises
        ------
        ArtefactError
            When it cannot resume: there is no checkpoint of all SAEs, or it is damaged.
        TrainingError
            When a loss is not finite. The last good checkpoint stays.
        KeyboardInterrupt
            After Ctrl-C or SIGTERM, once a checkpoint is written.
        """
        if not resume:
            self._fit_normalisers()
        length = self.total_steps, self.total_tokens
        learners = [TrainState(run.sae, run.settings, *length, self.group, run.schedule) for run in self.runs]
        if resume:
            self._restore(learners)
        self._loop(learners)
        for run in self.runs:
            self._keep(run)
        return self._evaluate([run.sae for run in self.runs])

    def _keep(self, run: TrainingRun) -> None:
        """Leave the last or the best weights in the SAE and in its folder."""
        if not run.settings.keep_best:
            self._write_sae(run)
            return
        self.group.barrier()  # until the first process has written the best weights
        run.sae.load_state_dict(files.load(run.folder).state_dict())

    def _restore(self, learners: list[TrainState]) -> None:
        folders = [Path(run.folder) for run in self.runs]
        step = latest_step(folders)
        if step is None:
            raise ArtefactError(f"a checkpoint to resume from does not exist in {', '.join(map(str, folders))}")
        for run, learner in zip(self.runs, learners, strict=True):
            run.rows = restore_checkpoint(run.folder, step, learner, self.seed)
        self.n_steps = step

    def _fit_normalisers(self) -> None:
        sample, wanted = [], self.settings.normaliser_tokens
        for x in self.source.batches(self.settings.batch_size, self.seed):
            sample.append(x)
            if sum(map(len, sample)) >= wanted:
                break
        sample = torch.cat(sample)[:wanted].to(self.device)
        for run in self.runs:
            if not run.sae.is_fitted:
                run.sae.fit_normaliser(sample)

    def _loop(self, learners: list[TrainState]) -> None:
        with progress_bar("training", self.total_tokens, "tokens") as advance, _interrupts(self.group) as interrupted:
            advance(max(learner.n_tokens for learner in learners))
            saved_at = time.monotonic()
            for x in self._batches():
                learning = [
                    (run, learner)
                    for run, learner in zip(self.runs, learners, strict=True)
                    if self.n_steps < run.last_step(self.total_steps)
                ]
                self._step(learning, x)
                self.n_steps += 1
                self._keep_some(learning)
                if due := [(run, learner) for run, learner in learning if self._is_evaluation_due(run)]:
                    self._report(due)
                stopping = self.group.any(interrupted())
                if stopping or self.group.any(self._is_checkpoint_due(saved_at)):
                    self._save(learners)
                    saved_at = time.monotonic()
                if stopping:
                    raise KeyboardInterrupt(f"stopped at step {self.n_steps}; the same command continues there")
                advance(len(x) * self.group.size, status=self._status())

    def _batches(self) -> Iterator[Tensor]:
        """Yield the batches, or this process's rows of them, until every SAE has finished or run out of patience."""
        a_pass = self.settings.steps_per_epoch(self.source.n_tokens)
        while not self._is_over():
            epoch, start = divmod(self.n_steps, a_pass)
            batch_size = self.settings.batch_size
            batches = self.source.batches(batch_size, self.seed, epoch, start, self.group)
            for x in on_device(batches, self.device):
                if self._is_over():
                    return
                yield x

    def _is_over(self) -> bool:
        return all(self.n_steps >= run.last_step(self.total_steps) for run in self.runs)

    def _is_evaluation_due(self, run: TrainingRun) -> bool:
        return self.n_steps % self.settings.eval_every == 0 or self.n_steps == run.last_step(self.total_steps)

    def _step(self, learning: Sequence[tuple[TrainingRun, TrainState]], x: Tensor) -> None:
        for run, learner in learning:
            stalled = run.stalled_at()
            learner.cooldown = None if stalled is None else (stalled, run.last_step(self.total_steps))
            try:
                learner.step(x)
            except TrainingError as error:
                kept = latest_step([run.folder])
                where = "no checkpoint was due yet" if kept is None else f"the last good checkpoint is of step {kept}"
                raise TrainingError(f"{error}; {where}", error.argument) from None

    def _report(self, learning: Sequence[tuple[TrainingRun, TrainState]]) -> None:
        """Evaluate the SAEs that are still learning, in one pass over the held-out activations."""
        held_out = self._evaluate([run.sae for run, _ in learning])
        for (run, learner), measured in zip(learning, held_out, strict=True):
            for callback in run.callbacks:
                measured |= callback(run.sae, learner.n_steps) or {}
            for split, metrics in {"train": learner.metrics(), "validate": measured}.items():
                metrics.pop("n_tokens", None)
                run.rows.append({"step": learner.n_steps, "tokens": learner.n_tokens, "split": split, **metrics})
                if run.tracker is not None and self.group.is_first:
                    logged = metrics | {"explained_variance": 1 - metrics["fvu"]}
                    run.tracker.log({f"{split}/{name}": value for name, value in logged.items()}, learner.n_steps)
            if self.group.is_first:
                write_metrics(Path(run.folder) / "metrics.csv", run.rows)
            if run.settings.keep_best and run.evaluations_since_best() == 0:
                self._write_sae(run)

    def _keep_some(self, learning: Sequence[tuple[TrainingRun, TrainState]]) -> None:
        """Keep the SAEs of which the settings ask for this step."""
        for run, learner in learning if self.group.is_first else ():
            if learner.n_steps in run.settings.kept_steps(self.total_steps):
                files.save(run.sae, Path(run.folder) / KEPT / str(learner.n_steps))

    def _evaluate(self, saes: Sequence[SAE]) -> list[dict[str, float]]:
        return evaluate_each(saes, self.validation, self.settings.batch_size, self.group)

    def _write_sae(self, run: TrainingRun) -> None:
        if self.group.is_first:
            files.save(run.sae, run.folder)

    def _is_checkpoint_due(self, saved_at: float) -> bool:
        return self.checkpoint_seconds is not None and time.monotonic() - saved_at >= self.checkpoint_seconds

    def _save(self, learners: list[TrainState]) -> None:
        """Write one checkpoint of all SAEs, then remove the one before: a complete one always exists."""
        if not self.group.is_first:
            return
        for run, learner in zip(self.runs, learners, strict=True):
            save_checkpoint(run.folder, self.n_steps, learner, run.rows, self.seed)
        for run in self.runs:
            drop_checkpoints(run.folder, but=self.n_steps)

    def _status(self) -> str:
        last = [run.rows[-1] for run in self.runs if run.rows]
        return ", ".join(f"{word} {_range([row[name] for row in last])}" for word, name in SHOWN) if last else ""


def _range(numbers: Sequence[float]) -> str:
    low, high = f"{min(numbers):.3g}", f"{max(numbers):.3g}"
    return low if low == high else f"{low} to {high}"


def _common_settings(runs: list[TrainingRun]) -> TrainerSettings:
    if not runs:
        raise SettingError("there is no SAE to train")
    for name in SHARED:
        values = dict.fromkeys(getattr(run.settings, name) for run in runs)
        if len(values) > 1:
            message = f"SAEs trained together need the same {name}, got {', '.join(map(str, values))}"
            raise SettingError(message, argument=name)
    return runs[0].settings


@contextmanager
def _interrupts(group: ReplicaGroup) -> Iterator[Callable[[], bool]]:
    """Yield a function that tells whether Ctrl-C or SIGTERM came since the block began; a second one acts at once.

    With several processes a second one is ignored: the terminal and torchrun may both send the signal.
    """
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return
    previous = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def note(number: int, frame: object) -> None:
        asked.set()
        if group.size == 1:
            signal.signal(number, previous[number])

    for number in previous:
        signal.signal(number, note)
    try:
        yield asked.is_set
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
