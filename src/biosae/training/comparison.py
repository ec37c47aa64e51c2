"""Comparison of SAEs on the same activations: the quality of each on every split, epoch by epoch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from biosae.activations.source import ActivationSource
from biosae.artefacts import read_json, write_json
from biosae.saes.base import SAE

from .evaluate import evaluate
from .tracker import Tracker

QUANTITIES = ("loss", "nmse", "fvu", "l0", "dead_fraction")


@dataclass
class EveryEpoch:
    """A tracker that evaluates an SAE on all splits whenever the trainer evaluates it.

    Attributes
    ----------
    sae
        The SAE that is trained in place.
    inner
        Tracker that receives the metrics of the trainer.
    rows
        One per evaluation and split, with the columns of comparison.csv. They are kept in ``epochs.json`` of the run
        folder until `forget`, where a resumed run reads them.
    """

    model: str
    sae: SAE
    sources: Mapping[str, ActivationSource]
    batch_size: int
    steps_per_epoch: int
    inner: Tracker
    rows: list[dict[str, Any]] = field(default_factory=list, init=False)
    _path: Path | None = field(default=None, init=False)

    def start(self, folder: Path, config: dict[str, Any]) -> None:
        self.inner.start(folder, config)
        self._path = folder / "epochs.json"
        if self._path.exists():
            self.rows = read_json(self._path, "the compare stage", {"rows": [{"step": int}]})["rows"]

    def log(self, metrics: dict[str, float], step: int) -> None:
        self.inner.log(metrics, step)
        if not any(row["step"] == step for row in self.rows):  # the trainer logs each split apart
            self.rows += self._measure(step)
            write_json(self._path, {"rows": self.rows})

    def close(self) -> None:
        self.inner.close()

    def forget(self) -> None:
        """Remove the kept rows once they are in the table."""
        self._path.unlink(missing_ok=True)

    def _measure(self, step: int) -> list[dict[str, Any]]:
        rows, k = [], self.sae.config().get("k")
        for split, source in self.sources.items():
            found = evaluate(self.sae, source, self.batch_size)
            place = {"model": self.model, "epoch": step / self.steps_per_epoch, "step": step, "split": split}
            rows.append(place | {name: found[name] for name in QUANTITIES} | {"n_tokens": found["n_tokens"], "k": k})
        return rows


def comparison_table(evaluations: list[EveryEpoch]) -> pd.DataFrame:
    """Return the rows of all models, one model after the other."""
    return pd.DataFrame([row for each in evaluations for row in each.rows])
