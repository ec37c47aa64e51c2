"""Results of steering for the report: integration scores, effects of every setting, and the features in them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from biosae.artefacts import check_origin, content_hash, read_json
from biosae.steering.steered_files import read_steered_origin

from .run_folder import optional_csv, records

RECORD, FORMAT = "integration.json", 1
SCORED_BY = "the benchmark stage"
EFFECTS = ("target_gap", "label_gap", "label_kept", "shift")
PERTURBED = ("distance_closed", "energy_closed", "label_kept", "label_accuracy")
SETTING = ("key", "method", "n_features", "operation", "value", "seed")
CHANGES = ("group_by", "group", "n_samples", "on_target", "off_target", "n_moved", "genes")
ESTIMATE = ("metric", "estimate", "low", "high")


@dataclass(frozen=True, eq=False)
class SteeringTables:
    """The artefacts of steering; each is None when it is absent.

    Attributes
    ----------
    integration
        integration_summary.csv: one row an arm.
    versus
        integration_versus.csv: the SAE's features less every other arm.
    scored
        integration.json.
    effects, off_target, moved, genes
        steering/effects.csv, off_target.csv, off_target_features.csv and off_target_genes.csv.
    perturbation
        steering/perturbation.csv.
    settings
        The settings of steered.h5ad by key.
    """

    integration: pd.DataFrame | None
    versus: pd.DataFrame | None
    scored: dict[str, Any] | None
    effects: pd.DataFrame | None
    off_target: pd.DataFrame | None
    moved: pd.DataFrame | None
    genes: pd.DataFrame | None
    perturbation: pd.DataFrame | None
    settings: dict[str, dict[str, Any]]

    @property
    def exists(self) -> bool:
        return any(table is not None for table in (self.integration, self.effects, self.perturbation))

    def content(self) -> dict[str, Any]:
        """The page of steering as JSON."""
        effects = self.effects
        if effects is not None:
            effects = effects[(effects["group_by"] == "all") & effects["metric"].isin(EFFECTS)]
        return {
            "scored": self.scored,
            "integration": records(self.integration),
            "versus": records(self.versus),
            "effects": records(effects, (*SETTING, *ESTIMATE)),
            "offTarget": records(self.off_target, ("key", *CHANGES)),
            "genes": records(self.genes),
            "labels": {key: setting["label"] for key, setting in self.settings.items()},
            "perturbation": records(_reported(self.perturbation), (*SETTING, *ESTIMATE)),
        }

    def of_features(self, first: int, last: int) -> list[dict[str, Any]]:
        """For every feature the settings that edit it (by choice, not as baselines), and those that move it most."""
        return [{"edited": self._edits(feature), "moved": self._moves(feature)} for feature in range(first, last)]

    def _edits(self, feature: int) -> list[dict[str, Any]]:
        return [
            {"label": setting["label"], "n_features": setting["n_features"], **self._effect_of(key)}
            for key, setting in self.settings.items()
            if setting["method"] == "sae" and feature in self._edited[key]
        ]

    def _moves(self, feature: int) -> list[dict[str, Any]]:
        rows = self._moved_by_feature.get(feature)
        if rows is None:
            return []
        return [
            {"label": self.settings[row["key"]]["label"], **{name: row[name] for name in ("before", "after", "change")}}
            for row in rows
            if self.settings.get(row["key"], {}).get("method") == "sae"
        ]

    def _effect_of(self, key: str) -> dict[str, Any]:
        return {name: self._effects_by_key.get((key, name)) for name in ("target_gap", "label_kept")}

    @cached_property
    def _edited(self) -> dict[str, set[int]]:
        return {key: set(setting["features"] or ()) for key, setting in self.settings.items()}

    @cached_property
    def _effects_by_key(self) -> dict[tuple[str, str], dict[str, Any]]:
        return {(row["key"], row["metric"]): row for row in self.content()["effects"] or []}

    @cached_property
    def _moved_by_feature(self) -> dict[int, list[dict[str, Any]]]:
        if self.moved is None:
            return {}
        of_all = self.moved[self.moved["group_by"] == "all"]
        return {int(f): records(rows) for f, rows in of_all.groupby("feature")}


def read_steering(folder: Path) -> SteeringTables:
    """The artefacts of steering in a run folder.

    Raises
    ------
    ArtefactError
        If one is damaged, or was made from another one than lies there.
    """
    path = folder / "steered.h5ad"
    settings, scored = read_steered_origin(path)["settings"] if path.exists() else [], None
    if (folder / RECORD).exists():
        scored = read_json(folder / RECORD, SCORED_BY, {"steered_hash": str}, FORMAT)
        found = content_hash(path) if path.exists() else "none"
        check_origin(folder / "integration.csv", scored["steered_hash"], path.name, found, SCORED_BY)
    tables = folder / "steering"
    return SteeringTables(
        integration=optional_csv(folder / "integration_summary.csv", "the benchmark stage"),
        versus=optional_csv(folder / "integration_versus.csv", "the benchmark stage"),
        scored=scored,
        effects=optional_csv(tables / "effects.csv", "the steer stage"),
        off_target=optional_csv(tables / "off_target.csv", "the steer stage"),
        moved=optional_csv(tables / "off_target_features.csv", "the steer stage"),
        genes=optional_csv(tables / "off_target_genes.csv", "the steer stage"),
        perturbation=optional_csv(tables / "perturbation.csv", "the steer stage"),
        settings={setting["key"]: setting for setting in settings},
    )


def _reported(table: pd.DataFrame | None) -> pd.DataFrame | None:
    """Test samples, each method at the strength that was best on the select samples."""
    if table is None:
        return None
    best = table["best_on_select"].astype(str).str.lower() == "true"
    return table[(table["part"] == "test") & (table["group_by"] == "all") & best & table["metric"].isin(PERTURBED)]
