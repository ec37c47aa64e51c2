"""`biosae run`: the stages in order, in one process, ending with what a biologist wants to know."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from omegaconf import DictConfig

from biosae.errors import SettingError

from .analyze import write_scores
from .benchmark import check_integration, write_integration
from .features import write_features
from .inputs import Inputs, load_inputs
from .launch import launch
from .report import write_page
from .runs import finish, is_trained, open_run, open_run_folder
from .steer import check_steering, write_steering
from .summary import print_summary
from .train import identity, prepare, train_in

STAGES = ("train", "features", "analyze", "steer", "benchmark", "report")


def main() -> None:
    launch("run", run)


def run(cfg: DictConfig) -> None:
    """Runs ``cfg.stages`` one after the other; without ``train`` they read the run of ``sae_checkpoint``."""
    unknown = set(cfg.stages) - set(STAGES)
    if unknown or not cfg.stages:
        raise SettingError(f"stages must be some of {', '.join(STAGES)}, got {', '.join(cfg.stages) or 'none'}")
    inputs = cache(lambda: load_inputs(cfg))
    if "train" in cfg.stages:
        check_ahead(cfg, inputs())
    with _trained(cfg, inputs) if "train" in cfg.stages else open_run(cfg) as folder:
        write_stages(cfg, folder, inputs)
        finish(folder)
    print_summary(folder)


def check_ahead(cfg: DictConfig, inputs: Inputs) -> None:
    """Raises before training what steer and benchmark would raise after it: columns, batches, numbers of samples."""
    samples, n_tokens = inputs.samples, inputs.sequences.lengths
    obs = samples.obs.assign(biosae_part=inputs.split.part, biosae_n_tokens=n_tokens)
    if "steer" in cfg.stages:
        check_steering(cfg, obs, samples.batch_key, is_scored="benchmark" in cfg.stages)
    if "benchmark" in cfg.stages:
        check_integration(cfg, obs, samples.label_keys, samples.batch_key)


def write_stages(cfg: DictConfig, folder: Path, inputs: Callable[[], Inputs]) -> None:
    """The stages after training, in their order."""
    if "features" in cfg.stages:
        write_features(cfg, folder, inputs())
    if "analyze" in cfg.stages:
        write_scores(cfg, folder)
    if "steer" in cfg.stages:
        write_steering(cfg, folder, inputs(), is_scored="benchmark" in cfg.stages)
    if "benchmark" in cfg.stages:
        write_integration(cfg, folder, inputs)
    if "report" in cfg.stages:
        write_page(cfg, folder)


@contextmanager
def _trained(cfg: DictConfig, inputs: Callable[[], Inputs]) -> Iterator[Path]:
    """A locked folder with a trained SAE: that of the same command, cut off after training, or one trained now."""
    prepared = prepare([cfg], inputs())
    with open_run_folder(cfg.experiment, identity(cfg, inputs()), takes_trained=True) as folder:
        if not is_trained(folder):
            train_in([folder], prepared)
        yield folder
