"""Plan of an integration benchmark: samples, columns and methods."""

from __future__ import annotations

from dataclasses import dataclass

from biosae.errors import SettingError

from .count_embeddings import check_methods
from .metric_families import load_metrics

UNSEEN = ("validate", "test")


@dataclass(frozen=True)
class BenchmarkPlan:
    """The samples to score, and the scores.

    Attributes
    ----------
    batch_key, label_key
        Columns of obs.
    parts
        Parts of the split whose samples are scored: of ``test`` and ``validate``.
    max_cells
        More samples than this are thinned, evenly over batch x label.
    context
        Methods on the counts: some of ``pca``, ``harmony``, ``scvi``.
    context_cells
        Cells that the context methods are fitted on: the scored ones and others, drawn at random.
    n_halves
        Random halves behind each interval; 0 gives none.
    kbet
        Whether kBET counts in the family of batch correction.
    n_neighbours
        Number of neighbours that vote in label transfer.
    """

    batch_key: str
    label_key: str
    parts: tuple[str, ...]
    max_cells: int
    context: tuple[str, ...]
    context_cells: int
    n_halves: int
    kbet: bool
    n_neighbours: int
    seed: int

    def check(self) -> None:
        """Raise before any work when a setting is out of range or a package is missing."""
        if self.n_halves == 1 or self.n_halves < 0:
            message = f"n_halves must be 0 or at least 2, got {self.n_halves}"
            raise SettingError(message, argument="benchmark.n_halves")
        if self.n_neighbours < 1:
            message = f"n_neighbours must be at least 1, got {self.n_neighbours}"
            raise SettingError(message, argument="benchmark.n_neighbours")
        check_methods(self.context)
        load_metrics()
