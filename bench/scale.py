"""Time and memory of reading and tokenising more and more cells.

    python bench/scale.py --cells 10000 100000 1000000

Cells are simulated, 500 of 13,656 genes each, in files of 10,000; the tokens are those of geneformer-mini. Each size
runs in a process of its own, whose memory is watched, but for mapped files, which the system takes back when it needs
to. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
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
from omegaconf import OmegaConf
from scipy import sparse

CONFIG = Path(__file__).parents[1] / "src/biosae/config/scfm/geneformer-mini.yaml"
PER_FILE, GENES_PER_CELL = 10_000, 500


def simulate(folder: Path, n_cells: int) -> None:
    """Files of cells with the genes of the embedded PBMCs."""
    from biosae.commands.inputs import data_paths

    var = anndata.read_h5ad(data_paths(None)[0]).var
    for number in range(n_cells // PER_FILE):
        generator = np.random.default_rng(number)
        gene = np.sort(generator.integers(0, len(var), (PER_FILE, GENES_PER_CELL)), axis=1)
        count = generator.geometric(0.5, gene.shape).astype(np.float32)
        offsets = np.arange(0, gene.size + 1, GENES_PER_CELL)
        counts = sparse.csr_matrix((count.ravel(), gene.ravel(), offsets), shape=(PER_FILE, len(var)))
        counts.sum_duplicates()
        kind = pd.Categorical(generator.choice(["A", "B", "C"], PER_FILE))
        obs = pd.DataFrame({"cell_type": kind}, index=[f"{number}-{n}" for n in range(PER_FILE)])
        anndata.AnnData(counts, obs=obs, var=var).write_h5ad(folder / f"part-{number:04d}.h5ad")


def measure(folder: Path) -> None:
    """Reads and tokenises the folder; prints cells, seconds and the largest anonymous memory in MB."""
    from biosae.commands.inputs import data_paths, load_model
    from biosae.data.cells import read_cells
    from biosae.models.tokens import joined_on_disk

    largest, process, ended = [0], psutil.Process(), threading.Event()

    def watch() -> None:
        while not ended.wait(0.01):
            memory = process.memory_info()
            largest[0] = max(largest[0], memory.rss - memory.shared)

    adapter = load_model(OmegaConf.load(CONFIG), "cpu")
    before = process.memory_info().rss - process.memory_info().shared
    threading.Thread(target=watch, daemon=True).start()
    start = time.perf_counter()
    cells = read_cells(data_paths(str(folder)))
    read = time.perf_counter()
    sequences = joined_on_disk(map(adapter.tokenize, cells.blocks()), folder)
    done = time.perf_counter()
    ended.set()
    numbers = len(cells.obs), len(sequences.token), read - start, done - read, before / 1e6, largest[0] / 1e6
    print("| {:,} | {:,} | {:.1f} s | {:.1f} s | {:.0f} MB | {:.0f} MB |".format(*numbers), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--folder", type=Path, default=None, help="where the simulated files go (4 GB a million cells)")
    parser.add_argument("--measure", type=Path, default=None, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure is not None:
        measure(arguments.measure)
        return
    print(
        "| cells | tokens | read | tokenise | memory before | largest memory |\n|---|---|---|---|---|---|", flush=True
    )
    for n_cells in arguments.cells:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            simulate(Path(folder), n_cells)
            subprocess.run([sys.executable, __file__, "--measure", folder], check=True)


if __name__ == "__main__":
    main()
