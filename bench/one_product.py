"""Would SAEs that learn in one pass gain from one encoder product for all of them?

    python bench/one_product.py [--saes 8] [--threads 1]

Times the products of several encoders of one shape over one batch: one after the other in chunks that stay in the
cache, as training does; as one product of the encoders side by side, in chunks of the same size; and batched.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from biosae.ops.linear import few_rows, linear
from biosae.saes.preactivations import CHUNK_VALUES

SHAPES = ((64, 128, 512), (64, 512, 512), (128, 1024, 1024), (320, 2560, 1024))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--saes", type=int, default=8)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    clock = time.process_time if arguments.threads == 1 else time.perf_counter
    print("d_in / d_sae / batch     separate  side by side  batched, ms")
    for d_in, d_sae, batch in SHAPES:
        x = torch.randn(batch, d_in)
        encoders = torch.randn(arguments.saes, d_sae, d_in)
        side_by_side, repeated = encoders.flatten(0, 1), x.expand(arguments.saes, -1, -1)
        ways = (
            lambda x=x, encoders=encoders: [in_chunks(x, encoder) for encoder in encoders],
            lambda x=x, encoder=side_by_side: in_chunks(x, encoder),
            lambda x=repeated, encoders=encoders: torch.bmm(x, encoders.transpose(1, 2)),
        )
        numbers = "  ".join(f"{milliseconds(way, clock):10.2f}" for way in ways)
        print(f"{f'{d_in} / {d_sae} / {batch}':<22} {numbers}", flush=True)


def in_chunks(x: torch.Tensor, encoder: torch.Tensor) -> None:
    """A product whose every chunk of rows overwrites the one before."""
    d_sae = len(encoder)
    n_rows = max(few_rows(x), CHUNK_VALUES // d_sae)
    room, bias = x.new_empty(min(n_rows, len(x)), d_sae), x.new_zeros(d_sae)
    for rows in x.split(n_rows):
        linear(rows, encoder, bias, room[: len(rows)])


def milliseconds(way: Callable[[], object], clock: Callable[[], float], rounds: int = 15) -> float:
    way()
    taken = []
    for _ in range(rounds):
        start = clock()
        way()
        taken.append(clock() - start)
    return 1e3 * statistics.median(taken)


if __name__ == "__main__":
    main()
