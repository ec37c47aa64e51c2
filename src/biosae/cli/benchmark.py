"""`biosae benchmark`: how well batches mix and labels stay apart, before and after steering."""

from __future__ import annotations

from omegaconf import DictConfig

from biosae.pipeline.benchmark import benchmark as benchmark_run
from biosae.pipeline.prepare import prepare

from .launch import launch
from .settings import opened_run


def main() -> None:
    launch("benchmark", benchmark)


def benchmark(cfg: DictConfig) -> None:
    """Score the steered embeddings of a run."""
    with opened_run(cfg) as (folder, settings):
        benchmark_run(folder, settings, lambda: prepare(settings))
