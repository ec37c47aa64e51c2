"""Held-out quality of ours and the peers: same activations, tokens, dictionary size, batch, k and schedule.

    python bench/quality.py [--store FOLDER] [--tokens 120000] [--seeds 3]

Two data sets: real activations of a store (left by `make demo`) and planted dictionaries. Every library is trained at
each learning rate of the same small grid and shown at its best one. FVU, L0 and dead features are measured on held-out
tokens by each library's inference path; on planted data also the mean correlation (MCC) between true features and
their Hungarian matches. But for TopK, whose L0 is its k, every library's penalty, k or target is turned until its L0
on held-out tokens is the one wanted, at every learning rate.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from math import exp, log
from pathlib import Path

import numpy as np
import torch
from case import Case
from peers import LIBRARIES
from scipy.optimize import linear_sum_assignment
from scipy.stats import t
from stored import newest_store, train_and_test
from tables import write
from torch import Tensor

warnings.filterwarnings("ignore")
os.environ.setdefault("WANDB_MODE", "disabled")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

BATCH, K = 512, 32
LEARNING_RATES = (2.5e-3, 7e-3, 2e-2, 5e-2)
VARIANTS = ("topk", "batchtopk", "matryoshka", "jumprelu", "gated", "relu", "relu-april", "panneal", "gatedanneal")
COUNTED = ("batchtopk", "matryoshka")
"""Variants whose knob is a number of features; that of others is a penalty."""
TARGETED = ("biosae", "dictionary_learning")
"""Libraries whose JumpReLU takes a target L0."""
MOST_TRIALS, FIRST_PENALTY, STRIDE = 10, 0.1, 3.0
LEAST_SHARE = 0.2
"""By how much a trial between two others narrows the search at least: some L0 fall off a cliff."""
COLUMNS = (
    "data", "variant", "library", "lr", "knob", "n_seeds", "fvu", "fvu_95", "l0", "dead_fraction", "mcc", "mcc_95",
)  # fmt: skip


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
    sets = {"planted": planted, "real": partial(real, arguments.store)}
    for data in (sets[name](arguments.tokens) for name in arguments.data):
        for variant in arguments.variants:
            for library in arguments.libraries:
                rows += at_best(data, variant, library, arguments.seeds, arguments.lr)
                write(rows, COLUMNS, arguments.out)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, help="folder of stored activations (default: the newest in runs)")
    parser.add_argument("--tokens", type=int, default=120_000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--variants", nargs="+", default=VARIANTS, choices=VARIANTS)
    parser.add_argument("--lr", type=float, nargs="+", default=LEARNING_RATES, help="learning rates to try")
    parser.add_argument("--data", nargs="+", default=["planted", "real"], choices=["planted", "real"])
    parser.add_argument("--libraries", nargs="+", default=[name for name in LIBRARIES if name != "plain"])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "quality.csv")
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


def at_best(data: DataSet, variant: str, library: str, n_seeds: int, rates: Sequence[float]) -> list[dict]:
    """The library's mean over seeds at its best learning rate, as one row; none where it does not run."""
    try:
        tried = [at_matched_l0(data, variant, library, lr, n_seeds) for lr in rates]
    except Exception as error:  # noqa: BLE001 - a peer that cannot run this is a result
        print(f"{library} does not run {variant}: {type(error).__name__}: {error}"[:150], file=sys.stderr)
        return []
    close = [row for row in tried if abs(row["l0"] / data.k - 1) < 0.1]
    close = close or [min(tried, key=lambda row: abs(log(max(row["l0"], 1e-3) / data.k)))]
    row = {"data": data.name, "variant": variant, "library": library, **min(close, key=lambda row: row["fvu"])}
    print(
        "  ".join(f"{row[column]:.4g}" if isinstance(row[column], float) else f"{row[column]}" for column in COLUMNS),
        flush=True,
    )
    return [row]


def at_matched_l0(data: DataSet, variant: str, library: str, lr: float, n_seeds: int) -> dict:
    """Mean over seeds with the knob where the first seed's L0 on held-out tokens is nearest to the one wanted."""
    if variant == "topk":
        knob, results = None, [train(data, variant, library, lr, seed=0)]
    else:
        knob, first = nearest_knob(lambda knob: train(data, variant, library, lr, 0, knob), variant, library, data.k)
        results = [first]
    results += [train(data, variant, library, lr, seed, knob) for seed in range(1, n_seeds)]
    return {"lr": lr, "knob": knob, "n_seeds": n_seeds, **summary(results)}


def nearest_knob(
    run: Callable[[float], dict[str, float]], variant: str, library: str, wanted: float
) -> tuple[float, dict[str, float]]:
    """The setting whose run has the L0 nearest to ``wanted``, and that run.

    L0 is taken for a power of the setting, rising where the setting is a number of features and falling where it is a
    penalty; between runs on either side the power is that through the closest pair.
    """
    counts = variant in COUNTED or (variant == "jumprelu" and library in TARGETED)
    knob, slope, tried = (float(wanted) if counts else FIRST_PENALTY), (1.0 if counts else -0.5), []
    for _ in range(MOST_TRIALS):
        result = run(knob)
        tried.append((log(knob), log(max(result["l0"], 1e-3) / wanted), result))
        if abs(result["l0"] / wanted - 1) < 0.03:
            break
        sides = [[trial for trial in tried if (trial[1] > 0) == side] for side in (False, True)]
        if all(sides):
            below, above = min(product(*sides), key=lambda pair: abs(pair[1][0] - pair[0][0]))
            share = below[1] / (below[1] - above[1])
            share = max(LEAST_SHARE, min(1 - LEAST_SHARE, share))
            knob = exp(below[0] + share * (above[0] - below[0]))
        else:  # it goes on from the last, though an earlier one came nearer
            knob *= exp(-max(-STRIDE, min(STRIDE, tried[-1][1] / slope)))
    at, _, result = min(tried, key=lambda trial: abs(trial[1]))
    return exp(at), result


def train(
    data: DataSet, variant: str, library: str, lr: float, seed: int, knob: float | None = None
) -> dict[str, float]:
    steps = len(data.train) // BATCH
    case = Case(variant, data.train.shape[1], data.d_sae, data.k, BATCH, data.train[:4096], lr, 0, seed, steps, knob)
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
    """Means over seeds, and half the width of the 95 % interval of the FVU and the MCC (Student's t)."""
    table = {name: np.array([result[name] for result in results]) for name in results[0]}
    means = {name: float(values.mean()) for name, values in table.items()}
    n = len(results)
    reach = {
        f"{name}_95": float(t.ppf(0.975, n - 1) * table[name].std(ddof=1) / n**0.5) if n > 1 else float("nan")
        for name in ("fvu", "mcc")
    }
    return means | reach


if __name__ == "__main__":
    main()
