"""Held-out quality of ours and the peers: same activations, tokens, dictionary size, batch, k and schedule.

    python bench/quality.py [--store FOLDER] [--tokens 60000] [--seeds 3]

Two data sets: real activations of a store (left by `make demo`) and planted dictionaries. Every library is trained at
each learning rate of the same small grid and shown at its best one. FVU, L0 and dead features are measured on held-out
tokens by each library's inference path; on planted data also the mean correlation (MCC) between true features and
their Hungarian matches.
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from peers import LIBRARIES, Case
from scipy.optimize import linear_sum_assignment
from stored import newest_store, train_and_test
from torch import Tensor

warnings.filterwarnings("ignore")
os.environ.setdefault("WANDB_MODE", "disabled")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

BATCH, K = 512, 32
LEARNING_RATES = (5e-3, 1e-2, 2e-2)
COLUMNS = ("data", "variant", "library", "lr", "n_seeds", "fvu", "fvu_sd", "l0", "dead_fraction", "mcc")


@dataclass(frozen=True)
class DataSet:
    """Activations to learn from and held out, and the true features where they are known."""

    name: str
    train: Tensor
    test: Tensor
    d_sae: int
    k: int
    features: Tensor | None = None


def main() -> None:
    arguments = parse()
    torch.set_num_threads(arguments.threads)
    rows = []
    for data in (planted(arguments.tokens), real(arguments.store, arguments.tokens)):
        for variant in arguments.variants:
            for library in LIBRARIES:
                if library != "plain":
                    rows += at_best(data, variant, library, arguments.seeds)
                    write(rows, Path(__file__).parent / "results" / "quality.csv")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, help="folder of stored activations (default: the newest in runs)")
    parser.add_argument("--tokens", type=int, default=60_000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--variants", nargs="+", default=["topk", "batchtopk"])
    return parser.parse_args()


def real(store: Path | None, n_tokens: int) -> DataSet:
    training, test = train_and_test(store or newest_store(), n_tokens, 10_000)
    return DataSet("real", training.values.float(), test.values.float(), 4 * training.d_in, K)


def planted(n_tokens: int, d_in: int = 64, n_features: int = 128, n_active: int = 4) -> DataSet:
    """Sums of a few of more features than dimensions, some common and most rare, with noise and an offset."""
    generator = torch.Generator().manual_seed(5)
    features = torch.nn.functional.normalize(torch.randn(n_features, d_in, generator=generator), dim=1)
    frequency = torch.arange(1, n_features + 1).float() ** -0.5
    chosen = torch.multinomial(frequency.expand(n_tokens + 10_000, -1), n_active, generator=generator)
    strength = 1 + torch.rand(chosen.shape, generator=generator)
    x = torch.nn.functional.embedding_bag(chosen, features, per_sample_weights=strength, mode="sum")
    x = x + 0.05 * torch.randn(x.shape, generator=generator) + 0.3
    return DataSet("planted", x[:n_tokens], x[n_tokens:], 2 * n_features, n_active, features)


def at_best(data: DataSet, variant: str, library: str, n_seeds: int) -> list[dict]:
    """The library's mean over seeds at its best learning rate, as one row; none where it does not run."""
    try:
        tried = [summary([train(data, variant, library, lr, seed) for seed in range(n_seeds)]) for lr in LEARNING_RATES]
    except Exception as error:  # noqa: BLE001 - a peer that cannot run this is a result
        print(f"{library} does not run {variant}: {type(error).__name__}: {error}"[:150], file=sys.stderr)
        return []
    lr, best = min(zip(LEARNING_RATES, tried, strict=True), key=lambda pair: pair[1]["fvu"])
    row = {"data": data.name, "variant": variant, "library": library, "lr": lr, "n_seeds": n_seeds, **best}
    print(
        "  ".join(f"{row[column]:.4g}" if isinstance(row[column], float) else f"{row[column]}" for column in COLUMNS),
        flush=True,
    )
    return [row]


def train(data: DataSet, variant: str, library: str, lr: float, seed: int) -> dict[str, float]:
    steps = len(data.train) // BATCH
    case = Case(variant, data.train.shape[1], data.d_sae, data.k, BATCH, data.train[:4096], lr, 0, seed, steps)
    contestant = LIBRARIES[library](case)
    order = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(seed))
    for rows in order.split(BATCH)[:steps]:
        contestant.step(data.train[rows])
    with torch.no_grad():
        codes, reconstruction = contestant.infer(data.test)
    error = (data.test - reconstruction).double().square().sum()
    variance = (data.test - data.test.mean(0)).double().square().sum()
    return {
        "fvu": float(error / variance),
        "l0": float((codes > 0).sum(1).double().mean()),
        "dead_fraction": float(((codes > 0).sum(0) == 0).double().mean()),
        "mcc": float("nan") if data.features is None else mcc(contestant.dictionary(), data.features),
    }


def mcc(dictionary: Tensor, features: Tensor) -> float:
    """Mean cosine between true features and the learned ones that the Hungarian method assigns to them."""
    cosine = (
        torch.nn.functional.normalize(features, dim=1) @ torch.nn.functional.normalize(dictionary, dim=1).t()
    ).numpy()
    return float(cosine[linear_sum_assignment(-cosine)].mean())


def summary(results: list[dict[str, float]]) -> dict[str, float]:
    means = {name: float(np.mean([result[name] for result in results])) for name in results[0]}
    return {
        **means,
        "fvu_sd": float(np.std([result["fvu"] for result in results], ddof=1)) if len(results) > 1 else 0.0,
    }


def write(rows: list[dict], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
