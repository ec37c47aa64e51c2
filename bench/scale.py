"""Time and memory of a whole run on more and more cells, from the files to the report.

    python bench/scale.py --cells 10000 100000 1000000 [--features 1024]

Cells are simulated, 200 of 13,656 genes each and one of 20 classes, in files of 10,000; the tokens are those of
geneformer-mini, and what is stored for each is 8 random numbers, for the width of an activation changes the disk and
not the memory. The SAE, TopK with k = 16, learns for 100 steps. Each size runs in a process of its own, whose memory
is watched, but for mapped files, which the system takes back when it needs to. Prints a Markdown table; the last column
is by how much the largest memory differs from that of the first row.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import psutil
from scipy import sparse

PER_FILE, GENES_PER_CELL, WIDTH = 10_000, 200, 8
STAGES = ("read", "tokenise", "split", "store", "batches", "train", "features", "analyze", "report")


def simulate(folder: Path, n_cells: int) -> None:
    """Files of cells with the genes of the embedded PBMCs."""
    from biosae.data.files import data_paths

    var = anndata.read_h5ad(data_paths(None)[0]).var
    for number in range(n_cells // PER_FILE):
        generator = np.random.default_rng(number)
        gene = np.sort(generator.integers(0, len(var), (PER_FILE, GENES_PER_CELL)), axis=1)
        count = generator.geometric(0.5, gene.shape).astype(np.float32)
        offsets = np.arange(0, gene.size + 1, GENES_PER_CELL)
        counts = sparse.csr_matrix((count.ravel(), gene.ravel(), offsets), shape=(PER_FILE, len(var)))
        counts.sum_duplicates()
        kind = pd.Categorical(generator.choice([f"class {n}" for n in range(20)], PER_FILE))
        obs = pd.DataFrame({"cell_type": kind}, index=[f"{number}-{n}" for n in range(PER_FILE)])
        anndata.AnnData(counts, obs=obs, var=var).write_h5ad(folder / f"part-{number:04d}.h5ad")


def measure(folder: Path, n_features: int) -> None:
    """Takes the cells of the folder through all stages; prints what is measured as JSON."""
    from biosae.data.cells import read_cells
    from biosae.data.files import data_paths
    from biosae.data.samples import Samples
    from biosae.models.tokens import joined_on_disk
    from biosae.pipeline.encode import encode
    from biosae.pipeline.models import load_model
    from biosae.pipeline.prepare import PreparedData, split_cells, stored_activations
    from biosae.pipeline.report import report
    from biosae.pipeline.score import score
    from biosae.pipeline.train import train_together
    from biosae.runs.data_settings import CellData
    from biosae.runs.settings import BufferSettings, ExperimentSettings, SaeSettings, Settings
    from biosae.training.settings import TrainerSettings

    settings = Settings(
        data=CellData(path=str(folder)),
        sae=SaeSettings("topk", 0, n_features / WIDTH, hyperparams={"k": 16}),
        buffer=BufferSettings(cache=str(folder / "activations")),
        training=TrainerSettings(lr=None, max_tokens=100 * 1024),
        experiment=ExperimentSettings(root=str(folder / "runs")),
    )
    adapter = random_activations(load_model(settings.scfm, "cpu"))
    watch = Watch()
    cells = read_cells(data_paths(str(folder / "*.h5ad")))
    samples = Samples(cells.obs, cells.name_blocks, cells.label_keys)
    watch.done("read")
    sequences = joined_on_disk(map(adapter.tokenize, cells.blocks()), folder)
    watch.done("tokenise")
    split = split_cells(samples, 0.4, None, 0)
    watch.done("split")
    prepared = PreparedData([file.path for file in cells.files], samples, split, adapter, sequences, cells=cells)
    store = stored_activations(settings, prepared, 0)
    watch.done("store")
    source = store.content_of(split.samples("train"), buffer_tokens=262_144)
    n_read = sum(map(len, source.batches(4096, seed=0)))
    watch.done("batches")
    assert n_read == source.n_tokens
    (run,) = train_together([settings], prepared, [0])
    watch.done("train")
    encode(run, settings, prepared)
    watch.done("features")
    score(run, settings.analysis)
    watch.done("analyze")
    report(run)
    watch.done("report")
    print(json.dumps({"cells": len(cells.obs), "tokens": len(sequences.token), **watch.measured()}), flush=True)


class Watch:
    """The largest memory of this process since it began to watch, of each stage, without mapped files."""

    def __init__(self):
        self._process, self._stages = psutil.Process(), {}
        self._largest, self._start = 0, time.perf_counter()
        self.before = self._memory()
        threading.Thread(target=self._watch, daemon=True).start()

    def done(self, stage: str) -> None:
        self._stages[stage] = (time.perf_counter() - self._start, self._largest)
        self._largest, self._start = 0, time.perf_counter()

    def measured(self) -> dict:
        return {"before": self.before, "stages": self._stages}

    def _watch(self) -> None:
        while True:
            self._largest = max(self._largest, self._memory())
            time.sleep(0.01)

    def _memory(self) -> int:
        memory = self._process.memory_info()
        return memory.rss - memory.shared


def random_activations(adapter: object) -> object:
    """The model, but for what it computes."""
    import torch

    def activations(batch: object, layers: list[int]) -> tuple[torch.Tensor]:
        return (torch.rand(int(batch.mask.sum()), WIDTH),)

    def embed_each(batch: object, layer: int, edits: list) -> list[torch.Tensor]:
        return [torch.rand(len(batch.sample), WIDTH) for _ in edits]

    adapter.activations, adapter.embed_each, adapter.d_model = activations, embed_each, WIDTH
    return adapter


def row(measured: dict, first: int) -> str:
    """A line of the table."""
    stages = measured["stages"]
    largest = max(memory for _, memory in stages.values())
    shown = [f"{stages[name][0]:,.0f} s, {stages[name][1] / 1e6:,.0f} MB" for name in STAGES]
    numbers = [f"{measured['cells']:,}", f"{measured['tokens']:,}", *shown, f"{largest / 1e6:,.0f} MB"]
    return "| " + " | ".join([*numbers, f"{largest / (first or largest) - 1:+.1%}"]) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--features", type=int, default=1024)
    parser.add_argument(
        "--folder", type=Path, default=None, help="where the simulated files go (some 100 GB for a million cells)"
    )
    parser.add_argument("--measure", type=Path, default=None, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure is not None:
        measure(arguments.measure, arguments.features)
        return
    columns = ["cells", "tokens", *STAGES, "largest memory", "differs by"]
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}", flush=True)
    first = 0
    for n_cells in arguments.cells:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            simulate(Path(folder), n_cells)
            command = [sys.executable, __file__, "--measure", folder, "--features", str(arguments.features)]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        measured = json.loads(done.stdout.splitlines()[-1])
        print(row(measured, first), flush=True)
        first = first or max(memory for _, memory in measured["stages"].values())


if __name__ == "__main__":
    main()
