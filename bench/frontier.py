"""Reconstruction against sparsity for all nine variants: docs/figures/frontier.svg and bench/results/frontier.csv.

    python bench/frontier.py [--store FOLDER] [--tokens 200000]

Every variant is trained on the same real activations from its YAML, with only k (or the target, or the penalty)
changed; the points of a variant learn in one pass. FVU and L0 are measured on held-out samples by the inference path.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
from stored import newest_store, train_and_test
from tables import show, write
from variants import GRID, trained

HERE = Path(__file__).parent
# Okabe and Ito's colour-blind-safe palette.
COLOURS = ("#0072B2", "#56B4E9", "#009E73", "#CC79A7", "#D55E00", "#000000", "#E69F00", "#999999", "#7F6000")
MARKERS = "osD^vPX*<"
COLUMNS = ("variant", "setting", "value", "l0", "fvu", "cosine", "dead_fraction", "relative_reconstruction_bias")


def main() -> None:
    arguments = parse()
    training, test = train_and_test(arguments.store or newest_store(), arguments.tokens, 20_000)
    rows = [row for name in GRID for row in points(name, training, test)]
    write(rows, COLUMNS, HERE / "results" / "frontier.csv")
    plot(rows, HERE.parent / "docs" / "figures" / "frontier.svg")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, help="folder of stored activations (default: the newest in runs)")
    parser.add_argument("--tokens", type=int, default=400_000, help="training activations")
    return parser.parse_args()


def points(name: str, training, test) -> list[dict]:
    """One row a value of the variant's grid."""
    setting, values = GRID[name]
    measured = trained(name, [{setting: value} for value in values], training, test)
    rows = [{"variant": name, "setting": setting, "value": v, **m} for v, m in zip(values, measured, strict=True)]
    for row in rows:
        show(row, COLUMNS)
    return rows


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
