"""`biosae run`: the stages in order, in one process, ending with what a biologist wants to know."""

from __future__ import annotations

from omegaconf import DictConfig

from biosae.pipeline.run import run as run_stages

from .launch import launch
from .settings import reading_settings
from .summary import print_summary


def main() -> None:
    launch("run", run)


def run(cfg: DictConfig) -> None:
    """Run the stages and print the summary."""
    print_summary(run_stages(reading_settings(cfg)))
