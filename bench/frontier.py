"""Reconstruction against sparsity for all nine variants: docs/figures/frontier.svg and bench/results/frontier.csv.

    python bench/frontier.py [--store FOLDER] [--tokens 200000]

Every variant is trained on the same real activations from its YAML, with only k (or the target, or the penalty)
changed; the points of a variant learn in one pass. FVU and L0 are measured on held-out samples by the inference path.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import yaml
from stored import newest_store, train_and_test

import biosae.config
from biosae.saes.build import build
from biosae.training.settings import TrainerSettings
from biosae.training.trainer import Run, Trainer

HERE = Path(__file__).parent
CONFIG = Path(biosae.config.__file__).parent / "sae"
COUNTS, PENALTIES = (8, 16, 32, 64), (0.1, 0.18, 0.3, 0.5)
GRID = {
    "topk": ("k", COUNTS),
    "batchtopk": ("k", COUNTS),
    "matryoshka": ("k", COUNTS),
    "gumbeltopk": ("k", COUNTS),
    "jumprelu": ("target_l0", COUNTS),
    "standard": ("l1_coefficient", PENALTIES),
    "gated": ("l1_coefficient", PENALTIES),
    "panneal": ("sparsity_coefficient", (0.05, 0.09, 0.16, 0.3)),
    "gatedanneal": ("sparsity_coefficient", (0.07, 0.12, 0.2, 0.35)),
}
# Okabe and Ito's colour-blind-safe palette.
COLOURS = ("#0072B2", "#56B4E9", "#009E73", "#CC79A7", "#D55E00", "#000000", "#E69F00", "#999999", "#7F6000")
MARKERS = "osD^vPX*<"
COLUMNS = ("variant", "setting", "value", "l0", "fvu", "cosine", "dead_fraction", "relative_reconstruction_bias")


def main() -> None:
    arguments = parse()
    training, test = train_and_test(arguments.store or newest_store(), arguments.tokens, 20_000)
    rows = [row for name in GRID for row in points(name, training, test)]
    write(rows, HERE / "results" / "frontier.csv")
    plot(rows, HERE.parent / "docs" / "figures" / "frontier.svg")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, help="folder of stored activations (default: the newest in runs)")
    parser.add_argument("--tokens", type=int, default=400_000, help="training activations")
    return parser.parse_args()


def points(name: str, training, test) -> list[dict]:
    """One row a value of the variant's grid."""
    content = yaml.safe_load((CONFIG / f"{name}.yaml").read_text())
    setting, values = GRID[name]
    hyperparams = content["hyperparams"]
    settings = TrainerSettings(lr=hyperparams.pop("lr"), eval_every=10**6)
    d_sae = round(content["dictionary_multiplier"] * training.d_in)
    with tempfile.TemporaryDirectory() as folder:
        runs = [
            Run(
                build(content["_target_"], training.d_in, d_sae, {**hyperparams, setting: value}),
                settings,
                Path(folder) / str(value),
            )
            for value in values
        ]
        measured = Trainer(runs, training, test).run()
    rows = [{"variant": name, "setting": setting, "value": v, **m} for v, m in zip(values, measured, strict=True)]
    for row in rows:
        print(
            "  ".join(
                f"{column}={row[column]:.4g}"
                if column in row and not isinstance(row[column], str)
                else str(row[column])
                for column in COLUMNS
            )
        )
    return rows


def write(rows: list[dict], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)


def plot(rows: list[dict], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure, axes = plt.subplots(figsize=(5.2, 3.8), layout="constrained")
    for name, colour, marker in zip(GRID, COLOURS, MARKERS, strict=True):
        own = sorted((row["l0"], row["fvu"]) for row in rows if row["variant"] == name)
        axes.plot(*zip(*own, strict=True), color=colour, marker=marker, markersize=5, linewidth=1.2, label=name)
    axes.set(xscale="log", yscale="log", xlim=(2.3, 160), ylim=(0.04, 0.7))
    axes.set(
        xlabel="L0 on held-out cells (features per token)", ylabel="FVU on held-out cells (1 is the mean predictor)"
    )
    axes.set_xticks([4, 8, 16, 32, 64, 128], ["4", "8", "16", "32", "64", "128"])
    axes.set_yticks([0.05, 0.1, 0.2, 0.4], ["0.05", "0.1", "0.2", "0.4"])
    axes.minorticks_off()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", linewidth=0.4, alpha=0.5)
    axes.legend(frameon=False, fontsize=8, ncols=2)
    figure.savefig(path)


if __name__ == "__main__":
    main()
