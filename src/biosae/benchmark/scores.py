"""Every score of every embedding, on all scored samples and on halves of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from biosae.progress import progress_bar

from .benchmark_plan import BenchmarkPlan
from .chosen_cells import ScoredCells
from .label_transfer import METRICS as TRANSFER
from .label_transfer import label_transfer
from .metric_families import BATCH, BIO, KBET, TOTALS, family_scores


@dataclass(frozen=True, eq=False)
class Scores:
    """Scores as arrays.

    Attributes
    ----------
    metrics
        Their names, the last axis of the arrays.
    whole
        Key -> ``(n_metrics,)`` on all scored samples.
    halves
        Key -> ``(n_halves, n_metrics)``; every embedding on the same halves.
    share
        Share of the samples in a half.
    """

    metrics: tuple[str, ...]
    whole: dict[str, np.ndarray]
    halves: dict[str, np.ndarray]
    share: float


def metrics_of(with_kbet: bool) -> tuple[str, ...]:
    """Return the names of all metrics, in the order of the arrays."""
    return (*BIO, *BATCH, *([KBET] if with_kbet else []), *TOTALS, *TRANSFER)


def family_of(metric: str) -> str:
    """Return the family of a metric: ``bio_conservation``, ``batch_correction``, ``total`` or ``label_transfer``."""
    families = {"bio_conservation": (*BIO, TOTALS[0]), "batch_correction": (*BATCH, KBET, TOTALS[1])}
    families |= {"total": TOTALS[2:], "label_transfer": TRANSFER}
    return next(family for family, names in families.items() if metric in names)


def score_all(
    embeddings: Mapping[str, np.ndarray],
    reference: np.ndarray,
    cells: ScoredCells,
    halves: list[np.ndarray],
    plan: BenchmarkPlan,
) -> Scores:
    """Score all embeddings, on all samples and on halves of them.

    Parameters
    ----------
    embeddings
        Key -> ``(n, d)`` of the scored samples.
    reference
        ``(n, d_reference)`` of the scored samples, not integrated.
    halves
        Places of the samples of each half.
    """
    metrics = metrics_of(plan.kbet)

    def score(embedding: np.ndarray, rows: np.ndarray) -> np.ndarray:
        groups = cells.batch[rows], cells.label[rows]
        found = family_scores(embedding[rows], reference[rows], *groups, plan.kbet)
        found |= label_transfer(embedding[rows], *groups, plan.n_neighbours)
        return np.array([found[name] for name in metrics])

    everyone, found = np.arange(len(cells.rows)), {}
    with progress_bar("integration", len(embeddings) * (1 + len(halves)), "scorings") as advance:
        for key, embedding in embeddings.items():
            found[key] = np.empty((1 + len(halves), len(metrics)))
            for values, rows in zip(found[key], (everyone, *halves), strict=True):
                values[:] = score(embedding, rows)
                advance(status=key)
    share = len(halves[0]) / len(everyone) if halves else 0.5
    first, others = ({key: values[part] for key, values in found.items()} for part in (0, slice(1, None)))
    return Scores(metrics, first, others, share)
