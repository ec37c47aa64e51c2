"""The benchmark stage: steered embeddings beside the original and beside methods without an SAE."""

from __future__ import annotations

import logging
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import anndata
import numpy as np
import pandas as pd

from biosae.analysis.labels.classes import class_names
from biosae.artefacts import atomic_write, content_hash, write_json
from biosae.errors import ArtefactError, DataError
from biosae.steering.steered_files import read_steered

from .benchmark_plan import BenchmarkPlan
from .chosen_cells import ScoredCells, draw_within, scored_cells
from .count_embeddings import LABELS, count_embeddings
from .jackknife import random_halves
from .scores import score_all
from .tables import ARM, ORIGINAL, long_table, summary_table, transfer_table, versus_table

logger = logging.getLogger(__name__)

FORMAT = 1


def benchmark_integration(
    run: Path, plan: BenchmarkPlan, read_counts: Callable[[], anndata.AnnData] | None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Write integration.csv, its summary and kin, and integration.json; return the first two.

    Parameters
    ----------
    read_counts
        Reads the raw counts of the run's cells; None where there are none, as for proteins.

    Raises
    ------
    BiosaeError
        If steered.h5ad is missing or stale, a column or package is missing, or too little can be scored.
    """
    steered, settings = open_steered(run)
    plan.check()
    embedded = ~np.isnan(steered.obsm[ORIGINAL]).any(axis=1)
    cells = scored_cells(steered.obs, embedded, plan)
    _log_cells(cells, plan)
    found = {} if read_counts is None else fitted_context(read_counts(), steered.obs, cells, plan)
    embeddings = {key: steered.obsm[key][cells.rows] for key in (ORIGINAL, *settings["key"])}
    embeddings |= {name: found[name] for name in plan.context if name in found}
    reference = found.get("pca", embeddings[ORIGINAL])
    halves = random_halves(cells.stratum, plan.n_halves, np.random.default_rng(plan.seed))
    scores = score_all(embeddings, reference, cells, halves, plan)
    described = described_settings(settings, [name for name in embeddings if name in LABELS])
    tables = {
        "integration": long_table(scores, described, len(cells.rows), cells.n_transferable),
        "integration_summary": summary_table(scores, described, len(cells.rows)),
        "integration_versus": versus_table(scores, described),
        "integration_transfer": transfer_table(embeddings, described, cells, plan.n_neighbours),
    }
    for name, table in tables.items():
        with atomic_write(run / f"{name}.csv") as temporary:
            table.to_csv(temporary, index=False, float_format="%.6g")
    write_json(run / "integration.json", provenance(run, plan, cells, "pca" if found else ORIGINAL))
    return tables["integration"], tables["integration_summary"]


def open_steered(run: Path) -> tuple[anndata.AnnData, pd.DataFrame]:
    """Return steered.h5ad of a run and its settings, if it belongs to the run's features.h5ad."""
    steered, settings = read_steered(run / "steered.h5ad")
    if not (run / "features.h5ad").exists():
        raise ArtefactError(f"{run / 'features.h5ad'} does not exist; make it with the features stage")
    if lacking := [key for key in (ORIGINAL, *settings["key"]) if key not in steered.obsm]:
        raise ArtefactError(f"steered.h5ad has no embeddings {lacking[0]}; make it again with the steer stage")
    return steered, settings


def fitted_context(
    counts: anndata.AnnData, obs: pd.DataFrame, cells: ScoredCells, plan: BenchmarkPlan
) -> dict[str, np.ndarray]:
    """Return the context embeddings of the scored cells, fitted on them and on others of the run."""
    if not obs.index.isin(counts.obs_names).all():
        message = "steered.h5ad has cells that the data does not have"
        raise DataError(f"{message}; run the features stage and the steer stage again")
    has_batch = np.flatnonzero(class_names(obs[plan.batch_key]) != None)  # noqa: E711, elementwise
    others = np.setdiff1d(has_batch, cells.rows)
    room = max(0, plan.context_cells - len(cells.rows))
    chosen = others[draw_within(np.zeros(len(others)), room, plan.seed)] if room else others[:0]
    rows = np.concatenate([cells.rows, chosen])
    batch = class_names(obs[plan.batch_key])[rows].astype(str)
    logger.info("context: %s on the counts of %s cells", ", ".join(plan.context) or "none", f"{len(rows):,}")
    found = count_embeddings(counts[obs.index[rows]], batch, plan.context, plan.seed)
    return {name: embedding[: len(cells.rows)] for name, embedding in found.items()}


def described_settings(settings: pd.DataFrame, context: list[str]) -> pd.DataFrame:
    """Return one row per embedding: the original, every setting, every context method."""
    first = {"key": ORIGINAL, "method": ORIGINAL, "label": "the model, not edited"}
    last = [{"key": name, "method": name, "label": LABELS[name]} for name in context]
    table = pd.concat([pd.DataFrame([first]), settings, pd.DataFrame(last)], ignore_index=True)
    table = table.reindex(columns=["key", "label", "seed", *ARM])
    return table.astype({"n_features": "Int64", "seed": "Int64"})


def provenance(run: Path, plan: BenchmarkPlan, cells: ScoredCells, reference: str) -> dict:
    """Return the content of integration.json; ``reference`` names the embedding that PC regression compares with."""
    batches, counts = np.unique(cells.batch, return_counts=True)
    return {
        "format": FORMAT,
        "steered_hash": content_hash(run / "steered.h5ad"),
        "settings": {name: list(v) if isinstance(v, tuple) else v for name, v in vars(plan).items()},
        "n_scored": len(cells.rows),
        "n_available": cells.n_available,
        "n_per_batch": dict(zip(batches.tolist(), counts.tolist(), strict=True)),
        "labels": np.unique(cells.label).tolist(),
        "labels_left_out": cells.left_out,
        "labels_in_one_batch": cells.labels_in_one_batch,
        "reference": reference,
        "scib_metrics": version("scib-metrics"),
    }


def _log_cells(cells: ScoredCells, plan: BenchmarkPlan) -> None:
    thinned = "" if len(cells.rows) == cells.n_available else f" of {cells.n_available:,} (max_cells)"
    n_batches, n_labels = len(np.unique(cells.batch)), len(np.unique(cells.label))
    words = "%s samples%s of %s, %d batches (%s), %d labels (%s)"
    n, parts = f"{len(cells.rows):,}", " and ".join(plan.parts)
    logger.info(words, n, thinned, parts, n_batches, plan.batch_key, n_labels, plan.label_key)
    for name, reason in cells.left_out.items():
        logger.info("label %s is left out: %s", name, reason)
    for name in cells.labels_in_one_batch:
        logger.info("label %s is in one batch only: batch scores and label transfer skip it", name)
