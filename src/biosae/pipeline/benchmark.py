"""The benchmark stage: how well batches mix and labels stay apart, before and after steering."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import anndata
import pandas as pd

from biosae.artefacts import atomic_write
from biosae.benchmark.benchmark_plan import BenchmarkPlan
from biosae.benchmark.chosen_cells import scored_cells
from biosae.benchmark.integration import benchmark_integration
from biosae.errors import DataError, arguments_of
from biosae.pl import integration
from biosae.run_record import read_run
from biosae.runs.settings import BenchmarkSettings, Settings
from biosae.steering.context import companion_label
from biosae.steering.steered_files import read_steered_obs

from .prepare import PreparedData

logger = logging.getLogger(__name__)


def benchmark(folder: Path, settings: Settings, prepared: Callable[[], PreparedData]) -> Path:
    """Write integration.csv with its summary, provenance and figure, from steered.h5ad of a run.

    Parameters
    ----------
    prepared
        Returns the data; called only for cells, which have counts to compare with.

    Returns
    -------
    Path
        The summary.
    """

    def counts() -> anndata.AnnData:
        return prepared().cells.adata

    data = read_run(folder)["data"]
    with arguments_of("benchmark"):
        obs = read_steered_obs(folder / "steered.h5ad")
        plan = plan_of(settings.benchmark, obs, data["label_keys"], data["batch_key"], settings.seed)
        _, summary = benchmark_integration(folder, plan, counts if data["kind"] == "cells" else None)
    for suffix in ("pdf", "svg", "png"):
        with atomic_write(folder / f"integration.{suffix}") as temporary:
            integration(summary, show=False, save=temporary)
    logger.info("integration scores in %s", folder / "integration_summary.csv")
    return folder / "integration_summary.csv"


def check_benchmark(settings: Settings, obs: pd.DataFrame, label_keys: list[str], batch_key: str | None) -> None:
    """Raise what can be known to be wrong before anything is embedded.

    Parameters
    ----------
    obs
        With ``biosae_part`` and ``biosae_n_tokens``.
    """
    with arguments_of("benchmark"):
        plan = plan_of(settings.benchmark, obs, label_keys, batch_key, settings.seed)
        plan.check()
        will_be_embedded = obs["biosae_part"].isin(settings.steer.parts) & (obs["biosae_n_tokens"] > 0)
        scored_cells(obs, will_be_embedded.to_numpy(), plan)


def plan_of(
    settings: BenchmarkSettings, obs: pd.DataFrame, label_keys: list[str], batch_key: str | None, seed: int
) -> BenchmarkPlan:
    """Return the benchmark that settings describe; columns that are not named are those of the run."""
    options = asdict(settings)
    batch_key = options.pop("batch_key") or batch_key
    if batch_key is None:
        raise DataError("integration needs a donor or batch column; name one as batch_key", argument="batch_key")
    label_key = options.pop("label_key") or companion_label(obs, label_keys, batch_key)
    if label_key is None:
        others = [key for key in label_keys if key != batch_key]
        why = f" ({', '.join(others)}: nested with {batch_key})" if others else ""
        message = f"integration needs a column of labels to keep apart, and the run has none{why}"
        raise DataError(f"{message}; name one as label_key", argument="label_key")
    lists = {name: tuple(options.pop(name)) for name in ("parts", "context")}
    return BenchmarkPlan(batch_key=batch_key, label_key=label_key, seed=seed, **lists, **options)
