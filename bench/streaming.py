"""What it costs a process to stream activations, as one of several that share out the model's batches.

    python bench/streaming.py --processes 1 2

The demo's cells through geneformer-mini, one thread a process, gloo. Nothing is trained: CPU seconds of each process
for the batches of one epoch of 300 cells, the exchange included; the best of three epochs after a first one.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

import torch
from hydra import compose, initialize_config_module

from biosae.activations.stream import StreamedActivations
from biosae.cli.config.schema import register
from biosae.cli.inputs import load_inputs
from biosae.cli.train import sources
from biosae.distributed.processes import ReplicaGroup, current_group, hard_exit, init_distributed

BATCH = 4096


def demo() -> StreamedActivations:
    register()
    with initialize_config_module("biosae.cli.config", version_base="1.3"):
        cfg = compose("train", ["buffer=stream", "data.n_cells=300", "buffer.buffer_tokens=16384"])
    inputs = load_inputs(cfg)
    return sources(cfg, inputs, inputs.layer_index(-1))[0]


def read(source: StreamedActivations, epoch: int, group: ReplicaGroup) -> float:
    """CPU seconds of an epoch."""
    start = time.process_time()
    for _ in source.batches(BATCH, 0, epoch, group=group):
        pass
    return time.process_time() - start


def measure() -> None:
    """Prints a row: one process or more, tokens, CPU seconds of each."""
    torch.set_num_threads(1)
    group, source = current_group(), demo()
    seconds = min([read(source, epoch, group) for epoch in range(4)][1:])
    each = group.all_gather(seconds)
    if group.is_first:
        print(f"| {group.size} | {source.n_tokens:,} |", ", ".join(f"{s:.2f}" for s in each), "|", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--is-one-of-several", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.is_one_of_several:
        with init_distributed():
            measure()
        hard_exit()
    print("| processes | tokens | CPU s of each |\n|---|---|---|", flush=True)
    for n in chosen.processes:
        words = ["--standalone", f"--nproc-per-node={n}", __file__, "--is-one-of-several"]
        subprocess.run([sys.executable, "-m", "torch.distributed.run", *words], check=True)
