"""Peak memory of a training step, each library in a process of its own.

    python bench/memory.py [--size 768] [--variants topk batchtopk]

Printed is what the process's peak resident memory grows by from before the SAE is made to after three steps: weights,
gradients, optimiser, and whatever a step keeps. Peers as in bench/train_step.py.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import warnings
from pathlib import Path

import torch
from case import Case
from peers import LIBRARIES
from train_step import SIZES, VARIANTS, activations

warnings.filterwarnings("ignore")
os.environ.setdefault("WANDB_MODE", "disabled")
os.environ.setdefault("HF_HUB_OFFLINE", "1")


def main() -> None:
    arguments = parse()
    if arguments.only:
        print(json.dumps(grown(arguments.only, arguments.variants[0], arguments.size)))
        return
    for variant in arguments.variants:
        weights = 4 * 2 * arguments.size * SIZES[arguments.size][0] * 4 / 1e6  # encoder and decoder, four copies each
        print(f"{variant} {arguments.size}: weights, gradients and two moments {weights:,.0f} MB", flush=True)
        for library in LIBRARIES:
            command = [
                sys.executable,
                __file__,
                "--only",
                library,
                "--variants",
                variant,
                "--size",
                str(arguments.size),
            ]
            done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parent)
            result = done.stdout.splitlines()[-1] if done.returncode == 0 else done.stderr.strip().splitlines()[-1][:90]
            print(f"  {library:<20} {float(result):8,.0f} MB" if done.returncode == 0 else f"  {library:<20} {result}")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=768, choices=SIZES)
    parser.add_argument("--variants", nargs="+", default=["topk"], choices=VARIANTS)
    parser.add_argument("--only", choices=LIBRARIES, help=argparse.SUPPRESS)
    return parser.parse_args()


def grown(library: str, variant: str, d_in: int) -> float:
    """Megabytes by which the peak grows; a small SAE first, so that what is imported late does not count."""
    torch.set_num_threads(1)
    d_sae, batch = SIZES[d_in]
    small = activations(64, 256, 0)
    step = LIBRARIES[library](Case(variant, 64, 512, 8, 256, small)).step
    for _ in range(2):
        step(small)
    x = activations(d_in, batch, 0)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    step = LIBRARIES[library](Case(variant, d_in, d_sae, 64, batch, x)).step
    for _ in range(3):
        step(x)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


if __name__ == "__main__":
    main()
