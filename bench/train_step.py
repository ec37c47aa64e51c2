"""Time of one training step, libraries interleaved in one process.

    python bench/train_step.py [--sizes 512 768] [--variants topk batchtopk] [--threads 2] [--rounds 7]
    python bench/train_step.py --device cuda --precision bf16 [--sizes 1152]

Libraries take turns round by round, so that whatever else the machine does hits all alike; ratios are taken inside
a round and their median is printed. ``floor`` is what a step takes at the speed of torch's matrix product
measured in the same round: the encoder's product and four passes over the k active entries (decode, gradient of the
codes, gradients of both weights); ``of floor`` is floor / time. Where biosae multiplies by a faster library than torch,
that passes 1; ``of own floor`` is the same at the speed of that one. With one thread the clock is the process's CPU
time, which other processes hardly disturb; with more, and on a GPU, it is wall time. ``products`` is the time of the
step in encoder's products. On a GPU and in bf16 only plain, biosae and sparsify take part; sparsify on a GPU is always
bf16.

The peers belong into an environment of their own, with biosae installed beside them:
    pip install sae-lens dictionary-learning eai-sparsify overcomplete
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # as the commands do, for all libraries here: biosae.cli

import torch
from case import Case
from peers import GPU_LIBRARIES, LIBRARIES
from tables import write
from torch import Tensor

from biosae.ops.linear import few_rows, linear
from biosae.saes.preactivations import CHUNK_VALUES

warnings.filterwarnings("ignore")
os.environ.setdefault("WANDB_MODE", "disabled")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

SIZES = {256: (2048, 4096), 512: (4096, 4096), 768: (6144, 8192), 1152: (9216, 4096)}
VARIANTS = ("topk", "batchtopk", "matryoshka", "relu", "jumprelu", "gated", "topk-auxk")
GPU_SIZES = {**SIZES, 1152: (36864, 16384)}
COLUMNS = (
    "variant", "d_in", "d_sae", "batch", "k", "device", "precision", "threads", "library",
    "ms", "speed_to_plain", "of_floor", "of_own_floor", "products",
)  # fmt: skip


def main() -> None:
    arguments = parse()
    torch.set_num_threads(arguments.threads)
    clock = clock_of(arguments)
    rows = []
    for d_in in arguments.sizes:
        for variant in arguments.variants:
            rows += compare(d_in, variant, arguments, clock)
            write(rows, COLUMNS, arguments.out)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--precision", default="fp32", choices=("fp32", "bf16"))
    parser.add_argument("--sizes", type=int, nargs="+", choices=SIZES, help="d_in; by default 512, on a GPU 1152")
    parser.add_argument("--variants", nargs="+", default=["topk"], choices=VARIANTS)
    parser.add_argument("--k", type=int, default=64)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument(
        "--out", type=Path, help="by default bench/results/train_step.csv, on a GPU train_step_cuda.csv"
    )
    arguments = parser.parse_args()
    on_gpu = arguments.device == "cuda"
    if on_gpu and not torch.cuda.is_available():
        parser.error("torch finds no GPU here; leave --device out to measure on the processor")
    arguments.sizes = arguments.sizes or [1152 if on_gpu else 512]
    name = "train_step_cuda.csv" if on_gpu else "train_step.csv"
    arguments.out = arguments.out or Path(__file__).parent / "results" / name
    return arguments


def clock_of(arguments: argparse.Namespace) -> Callable[[], float]:
    if arguments.device == "cpu":
        return time.process_time if arguments.threads == 1 else time.perf_counter

    def after_the_gpu() -> float:
        torch.cuda.synchronize()
        return time.perf_counter()

    return after_the_gpu


def compare(d_in: int, variant: str, arguments: argparse.Namespace, clock) -> list[dict]:
    device = torch.device(arguments.device)
    d_sae, batch = (SIZES if device.type == "cpu" else GPU_SIZES)[d_in]
    batches = [activations(d_in, batch, seed).to(device) for seed in range(2)]
    n_dead = d_sae // 10 if variant == "topk-auxk" else 0
    case = Case(variant, d_in, d_sae, arguments.k, batch, batches[0], n_dead=n_dead, precision=arguments.precision)
    steps = prepare(case, batches)
    dtype = torch.bfloat16 if arguments.precision == "bf16" else torch.float32
    left, right = (torch.randn(shape, device=device).to(dtype) for shape in ((batch, d_in), (d_in, d_sae)))
    out, features = left.new_empty(batch, d_sae), right.t().contiguous()
    ways = [lambda: torch.mm(left, right, out=out)]
    ways.append((lambda: in_chunks(left, features)) if device.type == "cpu" else ways[0])
    product, own_product, times = [], [], {name: [] for name in steps}
    for number in range(arguments.rounds):
        x = batches[number % 2]
        for taken, way in zip((product, own_product), ways, strict=True):
            taken.append(timed(way, clock))
        for name in rotated(list(steps), number):
            times[name].append(timed(lambda step=steps[name], x=x: step(x), clock))
    share = 1 + 4 * arguments.k / d_sae
    rows = []
    for name, taken in times.items():
        rows.append({
            "variant": variant, "d_in": d_in, "d_sae": d_sae, "batch": batch, "k": arguments.k,
            "device": device_name(device), "precision": case.precision, "threads": arguments.threads, "library": name,
            "ms": round(1000 * statistics.median(taken), 1),
            "speed_to_plain": round(statistics.median(p / t for p, t in zip(times["plain"], taken, strict=True)), 2),
            "of_floor": round(statistics.median(share * p / t for p, t in zip(product, taken, strict=True)), 3),
            "of_own_floor": round(statistics.median(share * p / t for p, t in zip(own_product, taken, strict=True)), 3),
            "products": round(statistics.median(t / p for p, t in zip(product, taken, strict=True)), 2),
        })  # fmt: skip
        print("  ".join(f"{rows[-1][column]!s:>{max(8, len(column))}}" for column in COLUMNS), flush=True)
    return rows


def prepare(case: Case, batches: list[Tensor]) -> dict:
    """The libraries that can do the case, warmed up."""
    steps = {}
    every = case.device.type == "cpu" and case.precision == "fp32"
    for name in LIBRARIES if every else GPU_LIBRARIES:
        try:
            steps[name] = LIBRARIES[name](case).step
            for x in batches:
                steps[name](x)
        except Exception as error:  # noqa: BLE001 - a peer that cannot run this is a result
            steps.pop(name, None)
            print(f"{name} does not run {case.variant}: {type(error).__name__}: {error}"[:150], file=sys.stderr)
    return steps


def in_chunks(x: Tensor, features: Tensor) -> None:
    """The encoder's product as training computes it: each chunk of rows overwrites the one before."""
    n_rows = max(few_rows(x), CHUNK_VALUES // len(features))
    buffer, bias = x.new_empty(min(n_rows, len(x)), len(features)), x.new_zeros(len(features))
    for rows in x.split(n_rows):
        linear(rows, features, bias, buffer[: len(rows)])


def activations(d_in: int, n: int, seed: int) -> Tensor:
    """Rows with an offset, a decaying low-rank part, sparse features and noise, of mean squared norm d_in."""
    generator = torch.Generator().manual_seed(0)
    basis = torch.randn(d_in // 8, d_in, generator=generator) * torch.arange(1, d_in // 8 + 1)[:, None] ** -0.5
    features = torch.nn.functional.normalize(torch.randn(8 * d_in, d_in, generator=generator), dim=1)
    offset = torch.randn(d_in, generator=generator)
    generator.manual_seed(seed + 1)
    x = torch.randn(n, d_in // 8, generator=generator) @ basis + offset
    chosen = (torch.rand(n, 24, generator=generator).square() * 8 * d_in).long()
    strength = -torch.log(torch.rand(n, 24, generator=generator).clamp(min=1e-9)) * d_in**0.5 / 3
    x += torch.nn.functional.embedding_bag(chosen, features, per_sample_weights=strength, mode="sum")
    x += 0.3 * torch.randn(n, d_in, generator=generator)
    return x * (d_in / x.square().sum(1).mean()).sqrt()


def device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def timed(function, clock) -> float:
    start = clock()
    function()
    return clock() - start


def rotated(names: list[str], by: int) -> list[str]:
    return names[by % len(names) :] + names[: by % len(names)]


if __name__ == "__main__":
    main()
