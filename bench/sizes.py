"""Every variant from its YAML, unchanged, from narrow to wide hosts and from half to 64 features a dimension.

    python bench/sizes.py [--sizes 64:0.5 64:64] [--variants topk gated]

Short runs on planted activations: sums of 8 of 1,024 features, the common ones more often, with a little noise. FVU, L0
and dead features are measured on held-out tokens by the inference path; FVU is 1 for the mean predictor. `pca` is the
FVU of as many principal components as the SAE has features, which no linear decoder of that size can go below.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from tables import show, write
from variants import GRID, settings_of, trained

from biosae.activations.source import ArrayActivations

TOKENS = {"64:0.5": 60_000, "64:8": 60_000, "64:64": 30_000, "1280:0.5": 15_000, "1280:4": 15_000, "5120:0.5": 6_000}
"""Training tokens by size, fewer where a token costs more."""
N_FEATURES, N_ACTIVE, N_TEST, BATCH = 1024, 8, 4000, 256
COLUMNS = ("d_in", "multiplier", "variant", "n_tokens", "wanted_l0", "l0", "fvu", "pca", "dead_fraction")


def main() -> None:
    arguments = parse()
    rows = []
    for size in arguments.sizes:
        d_in, multiplier = int(size.split(":")[0]), float(size.split(":")[1])
        training, test = planted(d_in, arguments.tokens or TOKENS.get(size, 15_000))
        floor = left_by_components(test, round(multiplier * d_in))
        for name in arguments.variants:
            rows.append({"d_in": d_in, "multiplier": multiplier, "pca": floor, **row(name, multiplier, training, test)})
            show(rows[-1], COLUMNS)
            write(rows, COLUMNS, arguments.out)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=tuple(TOKENS), help="width:features a dimension")
    parser.add_argument("--variants", nargs="+", default=tuple(GRID), choices=tuple(GRID))
    parser.add_argument("--tokens", type=int, help="training tokens (default: by size)")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "sizes.csv")
    return parser.parse_args()


def planted(d_in: int, n_tokens: int) -> tuple[ArrayActivations, ArrayActivations]:
    """Training and held-out tokens."""
    generator = torch.Generator().manual_seed(5)
    features = torch.nn.functional.normalize(torch.randn(N_FEATURES, d_in, generator=generator), dim=1)
    frequency = torch.arange(1, N_FEATURES + 1).float() ** -0.5
    chosen = torch.multinomial(frequency.expand(n_tokens + N_TEST, -1), N_ACTIVE, generator=generator)
    strength = 1 + torch.rand(chosen.shape, generator=generator)
    x = torch.nn.functional.embedding_bag(chosen, features, per_sample_weights=strength, mode="sum")
    x += 0.4 * d_in**-0.5 * torch.randn(x.shape, generator=generator)
    return ArrayActivations(x[:n_tokens]), ArrayActivations(x[n_tokens:])


def left_by_components(test: ArrayActivations, n: int) -> float:
    """Share of the variance beyond the first ``n`` principal components."""
    squares = torch.linalg.svdvals(test.values - test.values.mean(0)).double().square()
    return float(squares[n:].sum() / squares.sum())


def row(name: str, multiplier: float, training: ArrayActivations, test: ArrayActivations) -> dict:
    hyperparams = settings_of(name)["hyperparams"]
    (measured,) = trained(name, [{}], training, test, multiplier, batch_size=BATCH)
    wanted = hyperparams.get("k", hyperparams.get("target_l0", ""))
    return {"variant": name, "wanted_l0": wanted, **measured, "n_tokens": training.n_tokens}


if __name__ == "__main__":
    main()
