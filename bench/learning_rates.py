"""Held-out FVU, L0 and dead features of variants at several learning rates.

    python bench/learning_rates.py [--store FOLDER] [--tokens 200000] [--variants topk gated] [--rates 2e-3 5e-3]

Real activations, read twice; everything but the rate as in the variant's YAML. The rates of a variant learn together.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from stored import newest_store, train_and_test
from tables import show
from variants import GRID, trained

COLUMNS = ("variant", "lr", "fvu", "l0", "dead_fraction")


def main() -> None:
    arguments = parse()
    training, test = train_and_test(arguments.store or newest_store(), arguments.tokens, 20_000)
    for name in arguments.variants:
        changes = [{"lr": lr} for lr in arguments.rates]
        for change, measured in zip(changes, trained(name, changes, training, test, epochs=2), strict=True):
            show({"variant": name, **change, **measured}, COLUMNS)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, help="folder of stored activations (default: the newest in runs)")
    parser.add_argument("--tokens", type=int, default=200_000, help="training activations")
    parser.add_argument("--variants", nargs="+", default=("topk", "jumprelu", "gated", "panneal"), choices=tuple(GRID))
    parser.add_argument("--rates", nargs="+", type=float, default=(2e-3, 5e-3, 1e-2))
    return parser.parse_args()


if __name__ == "__main__":
    main()
