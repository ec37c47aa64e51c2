"""Training rate with one process and with several that share every batch.

    python bench/processes.py --processes 1 2

Gaussian activations, one thread a process, TopK as configured. Prints a Markdown table of the steps after the first
ten: wall time, CPU time of the first process (its sums over processes included, waiting left out, so that other work on
the machine hardly counts), and how many times as much CPU time one process alone takes.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from statistics import median

import torch

from biosae.distributed.processes import SINGLE, ReplicaGroup, current_group, hard_exit, init_distributed
from biosae.saes.variants.topk import TopK
from biosae.training.settings import TrainerSettings
from biosae.training.train_state import TrainState

N_WARM = 10
SIZES = [(256, 2048, 1024), (256, 2048, 4096), (512, 8192, 4096)]
"""d_in, d_sae and batch size."""


def measure(d_in: int, d_sae: int, batch_size: int, n_steps: int, group: ReplicaGroup) -> tuple[float, float]:
    """Median wall and CPU milliseconds of a step."""
    sae = TopK(d_in, d_sae, k=32)
    x = torch.randn(batch_size, d_in, generator=torch.Generator().manual_seed(0))
    sae.fit_normaliser(x)
    learner = TrainState(sae, TrainerSettings(lr=None), 1000, 1000 * batch_size, group)
    wall, cpu = [], []
    for _ in range(N_WARM + n_steps):
        before = time.perf_counter(), time.process_time()
        learner.step(group.shard_rows(x))
        wall.append(time.perf_counter() - before[0])
        cpu.append(time.process_time() - before[1])
    return 1000 * median(wall[N_WARM:]), 1000 * median(cpu[N_WARM:])


def run(n_steps: int, group: ReplicaGroup, alone: list[float]) -> list[float]:
    """Prints a row a size; ``alone`` are the CPU times of one process, or nothing. Gives its own."""
    torch.set_num_threads(1)
    times = []
    for number, size in enumerate(SIZES):
        wall, cpu = measure(*size, n_steps, group)
        times.append(cpu)
        if group.is_first:
            less = f"{alone[number] / cpu:.2f}" if alone else ""
            row = [*(f"{n:,}" for n in size), group.size, f"{wall:.0f} ms", f"{cpu:.0f} ms", less]
            print("|", " | ".join(map(str, row)), "|", flush=True)
    return times


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--alone", type=float, nargs="+", help="CPU times of one process; given to those of torchrun")
    chosen = parser.parse_args()
    if chosen.alone:
        with init_distributed():
            run(chosen.steps, current_group(), chosen.alone)
        hard_exit()
    print("| d_in | d_sae | batch | processes | wall | CPU of the first | alone, times |", flush=True)
    print("|---|---|---|---|---|---|---|", flush=True)
    alone = run(chosen.steps, SINGLE, [])
    for n in chosen.processes:
        if n > 1:
            words = [f"--nproc-per-node={n}", __file__, "--steps", str(chosen.steps), "--alone", *map(str, alone)]
            subprocess.run([sys.executable, "-m", "torch.distributed.run", "--standalone", *words], check=True)
