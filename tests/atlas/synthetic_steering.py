"""Steering, integration, stability and comparison artefacts beside a synthetic run, with markup in their names."""

from __future__ import annotations

import json
from pathlib import Path

import anndata
import numpy as np
import pandas as pd

from biosae.artefacts import content_hash

INJECTED = "<img src=y onerror=alert(2)>"
METRICS = ("bio_conservation", "batch_correction", "total", "transfer_accuracy", "transfer_macro_f1")
EDITED, MOVED = 3, 8


def write_steering(run: Path) -> None:
    """Two settings: the SAE's features 3 and 4, and two drawn at random."""
    table = anndata.read_h5ad(run / "features.h5ad")
    settings = [
        _setting("s000", "sae", [EDITED, 4], INJECTED),
        _setting("s001", "matched_features", [MOVED, 9], "drawn"),
    ]
    described = {"format": 1, "features_hash": content_hash(run / "features.h5ad"), "settings": json.dumps(settings)}
    obsm = {name: np.zeros((table.n_obs, 2), dtype=np.float32) for name in ("original", "s000", "s001")}
    anndata.AnnData(obs=table.obs, obsm=obsm, uns={"biosae": described}).write_h5ad(run / "steered.h5ad")
    (run / "steering").mkdir()
    effects = [
        {"key": key, "method": method, "chooser": "list", "n_features": 2, "operation": "ablate", "value": 0.0,
         "seed": None, "group_by": group_by, "group": "", "metric": metric, "estimate": 0.4, "low": 0.3, "high": 0.5,
         "n_samples": 75}
        for key, method in (("s000", "sae"), ("s001", "matched_features"))
        for metric in ("target_gap", "label_kept")
        for group_by in ("all", "cell_type")
    ]  # fmt: skip
    pd.DataFrame(effects).to_csv(run / "steering" / "effects.csv", index=False)
    moved = {"key": ["s000", "s001"], "feature": [MOVED, 12], "before": [0.2, 0.1], "after": [0.1, 0.2]}
    pd.DataFrame(moved).assign(change=[-0.1, 0.1], group_by="all").to_csv(
        run / "steering" / "off_target_features.csv", index=False
    )
    groups = {"group_by": ["all", "cell_type"], "group": ["", INJECTED], "n_samples": [75, 40]}
    changes = {"on_target": [1.5, 1.0], "off_target": [0.4, 0.2], "n_moved": [12, 8], "genes": "bins, 0 to 50"}
    pd.DataFrame({"key": "s000", **groups, **changes}).to_csv(run / "steering" / "off_target.csv", index=False)
    gene = {"key": "s000", **groups, "gene": "ISG15", "before": 3.0, "after": [1.0, 2.0], "change": [-2.0, -1.0]}
    pd.DataFrame(gene).to_csv(run / "steering" / "off_target_genes.csv", index=False)
    write_integration(run)


def write_integration(run: Path) -> None:
    """Totals of the unedited model, of two numbers of features, of a random baseline and of centring."""
    rows = [("original", None, 0.4), ("sae", 10, 0.5), ("sae", 30, 0.55), ("matched_features", 10, 0.41)]
    rows += [("centring", None, 0.6), (INJECTED, None, 0.3)]
    table = pd.DataFrame(rows, columns=["method", "n_features", "level"])
    table.insert(1, "chooser", np.where(table["method"] == "sae", INJECTED, None))
    table = table.assign(operation="ablate", value=np.where(table["n_features"].notna(), 0.0, None), n_seeds=1)
    table["n_samples"] = 75
    for metric in METRICS:
        table[metric] = table["level"]
        table[f"{metric}_low"], table[f"{metric}_high"] = table["level"] - 0.02, table["level"] + 0.02
        table[f"{metric}_difference"] = table["level"] - 0.4
        table[f"{metric}_difference_low"], table[f"{metric}_difference_high"] = table["level"] - 0.43, None
    table.drop(columns="level").to_csv(run / "integration_summary.csv", index=False)
    pairs = [(n, other, metric) for n in (10, 30) for other in ("centring", INJECTED) for metric in METRICS]
    versus = pd.DataFrame(pairs, columns=["n_features", "versus", "metric"]).assign(chooser="list", operation="ablate")
    versus = versus.assign(value=0.0, n_seeds=1, difference=-0.1, low=-0.15, high=-0.05)
    versus.to_csv(run / "integration_versus.csv", index=False)
    described = {
        "format": 1, "steered_hash": content_hash(run / "steered.h5ad"), "n_scored": 70, "n_available": 75,
        "settings": {"batch_key": "batch", "label_key": "cell_type", "parts": ["test"]}, "labels": ["B", "T"],
        "n_per_batch": {"p": 40, "q": 30}, "labels_left_out": {INJECTED: "2 scored samples, fewer than 10"},
        "labels_in_one_batch": ["Mk"],
    }  # fmt: skip
    (run / "integration.json").write_text(json.dumps(described))


def write_stability(run: Path) -> None:
    """Stability columns in scores.csv; features 0 and 1 come back in all runs."""
    scores = pd.read_csv(run / "scores.csv", header=[0, 1], index_col=0, dtype=str)
    n = len(scores)
    columns = {"n_runs": 4, "cosine": np.linspace(0.95, 0.1, n), "correlation": 0.8}
    columns |= {"comes_back": np.where(np.arange(n) < 2, 1.0, 0.25), "stable": np.arange(n) < 2}
    for name, values in columns.items():
        scores["stability", name] = values
    scores.to_csv(run / "scores.csv")
    (run / "analysis.json").write_text(json.dumps({"summary": {"stability": {"chance_cosine": 0.31}}}))


def write_comparison(run: Path) -> None:
    """comparison.csv beside the run folder: two variants, three epochs, two splits."""
    rows = [
        {"model": model, "epoch": epoch, "step": 10 * epoch, "split": split, "loss": 1 / epoch, "nmse": level / epoch,
         "fvu": level / epoch, "l0": 8, "dead_fraction": 0.1, "n_tokens": 100}
        for model, level in (("topk", 0.2), (INJECTED, 0.4))
        for epoch in (1, 2, 3)
        for split in ("train", "test")
    ]  # fmt: skip
    pd.DataFrame(rows).to_csv(run.parent / "comparison.csv", index=False)


def write_sweep(run: Path) -> None:
    """sweep.csv beside the run folder: two runs at two layers; a run may be called as a number."""
    rows = [("0123", "TopK", 1, 0.4, 8), (run.name, INJECTED, 2, 0.3, 16)]
    table = pd.DataFrame(rows, columns=["run", "variant", "scfm.layer", "fvu", "l0"])
    table.to_csv(run.parent / "sweep.csv", index=False)


def write_controls(run: Path) -> None:
    """controls.csv: the SAE beside one other set of axes."""
    rows = [("sae", "cell_type", 40, 8.0, 5, 4, 0.25, 3.75, 0.82, 0.7, 0.12)]
    rows += [(INJECTED, "cell_type", 16, None, 5, 5, 0.25, 4.75, 0.8, 0.7, 0.1)]
    columns = "axes label n_axes l0 n_concepts n_recovered expected_by_chance excess auroc null_auroc above_null"
    pd.DataFrame(rows, columns=columns.split()).to_csv(run / "controls.csv", index=False)


def _setting(key: str, method: str, features: list[int], label: str) -> dict:
    return {"key": key, "method": method, "features": features, "n_features": 2, "label": label, "seed": None}
