"""`biosae benchmark`: how well batches mix and labels stay apart, before and after steering."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import anndata
import pandas as pd
from omegaconf import DictConfig

from biosae.artefacts import atomic_write
from biosae.benchmark.integration import Plan, benchmark_integration, cells_of, check_plan
from biosae.errors import DataError
from biosae.pl import integration
from biosae.steering.run import label_beside
from biosae.steering.steered import read_steered_obs

from .features import with_settings_of
from .inputs import Inputs, load_inputs
from .launch import launch
from .runs import open_run, read_run

logger = logging.getLogger(__name__)


def main() -> None:
    launch("benchmark", benchmark)


def benchmark(cfg: DictConfig) -> Path:
    """Writes integration.csv with its summary, provenance and figure, from steered.h5ad of a run."""
    with open_run(cfg) as folder:
        cfg = with_settings_of(folder, cfg)
        write_integration(cfg, folder, lambda: load_inputs(cfg))
    return folder


def write_integration(cfg: DictConfig, folder: Path, inputs: Callable[[], Inputs]) -> None:
    """Scores the steered embeddings in ``folder``; only cells have counts to compare with."""

    def counts() -> anndata.AnnData:
        return inputs().cells.adata

    data = read_run(folder)["data"]
    plan = plan_of(cfg, read_steered_obs(folder / "steered.h5ad"), data["label_keys"], data["batch_key"])
    _, summary = benchmark_integration(folder, plan, counts if data["kind"] == "cells" else None)
    for suffix in ("pdf", "svg", "png"):
        with atomic_write(folder / f"integration.{suffix}") as temporary:
            integration(summary, show=False, save=temporary)
    logger.info("integration scores in %s", folder / "integration_summary.csv")


def check_integration(cfg: DictConfig, obs: pd.DataFrame, label_keys: list[str], batch_key: str | None) -> None:
    """Raises what can be known to be wrong before anything is embedded.

    Parameters
    ----------
    obs
        With ``biosae_part`` and ``biosae_n_tokens``.
    """
    plan = plan_of(cfg, obs, label_keys, batch_key)
    check_plan(plan)
    will_be_embedded = obs["biosae_part"].isin(list(cfg.steer.parts)) & (obs["biosae_n_tokens"] > 0)
    cells_of(plan, obs, will_be_embedded.to_numpy())


def plan_of(cfg: DictConfig, obs: pd.DataFrame, label_keys: list[str], batch_key: str | None) -> Plan:
    """The settings of the section ``benchmark``; columns that are not named are those of the run."""
    settings = dict(cfg.benchmark)
    batch_key = settings.pop("batch_key") or batch_key
    if batch_key is None:
        raise DataError("integration needs a donor or batch column; name one with benchmark.batch_key=")
    label_key = settings.pop("label_key") or label_beside(obs, label_keys, batch_key)
    if label_key is None:
        others = [key for key in label_keys if key != batch_key]
        why = f" ({', '.join(others)}: the same as {batch_key} in other words)" if others else ""
        message = f"integration needs a column of labels to keep apart, and the run has none{why}"
        raise DataError(f"{message}; name one with benchmark.label_key=")
    lists = {name: tuple(settings.pop(name)) for name in ("parts", "context")}
    return Plan(batch_key=batch_key, label_key=label_key, seed=cfg.seed, **lists, **settings)
