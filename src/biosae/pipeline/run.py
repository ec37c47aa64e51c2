"""All stages in order, in one process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from biosae.errors import SettingError
from biosae.runs.folders import is_trained, mark_finished, open_run, open_run_folder
from biosae.runs.settings import Settings

from .benchmark import benchmark, check_benchmark
from .encode import encode
from .prepare import PreparedData, prepare
from .report import report
from .score import score
from .steer import check_steering, steer
from .train import train_in
from .training_plan import check_settings, identity, plan_training

STAGES = ("train", "features", "analyze", "steer", "benchmark", "report")


def run(settings: Settings) -> Path:
    """Run ``settings.stages`` one after the other; without ``train`` they read a run that is there.

    Returns
    -------
    Path
        The run folder.
    """
    stages = settings.stages
    if set(stages) - set(STAGES) or not stages:
        message = f"stages must be some of {', '.join(STAGES)}, got {', '.join(stages) or 'none'}"
        raise SettingError(message, argument="stages")
    prepared = cache(lambda: prepare(settings))
    if "train" in stages:
        check_settings(settings.sae, settings.training, settings.device)
        check_ahead(settings, prepared())
        opened = _trained(settings, prepared)
    else:
        opened = open_run(settings.experiment, settings.sae_checkpoint)
    with opened as folder:
        run_stages(folder, settings, prepared)
        mark_finished(folder)
    return folder


def check_ahead(settings: Settings, prepared: PreparedData) -> None:
    """Raise before training what steer and benchmark would raise after it: columns, batches, numbers of samples."""
    samples, n_tokens = prepared.samples, prepared.sequences.lengths
    obs = samples.obs.assign(biosae_part=prepared.split.part, biosae_n_tokens=n_tokens)
    if "steer" in settings.stages:
        check_steering(settings, obs, samples.batch_key, is_scored="benchmark" in settings.stages)
    if "benchmark" in settings.stages:
        check_benchmark(settings, obs, samples.label_keys, samples.batch_key)


def run_stages(folder: Path, settings: Settings, prepared: Callable[[], PreparedData]) -> None:
    """Run the stages after training, in their order."""
    stages = settings.stages
    if "features" in stages:
        encode(folder, settings, prepared())
    if "analyze" in stages:
        score(folder, settings.analysis, settings.seed)
    if "steer" in stages:
        steer(folder, settings, prepared(), is_scored="benchmark" in stages)
    if "benchmark" in stages:
        benchmark(folder, settings, prepared)
    if "report" in stages:
        report(folder, settings.report)


@contextmanager
def _trained(settings: Settings, prepared: Callable[[], PreparedData]) -> Iterator[Path]:
    """Open a locked folder with a trained SAE: that of the same settings, cut off after training, or a new one."""
    plan = plan_training([settings], prepared())
    with open_run_folder(settings.experiment, identity(settings, prepared()), takes_trained=True) as folder:
        if not is_trained(folder):
            train_in([folder], plan)
        yield folder
