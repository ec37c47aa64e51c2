"""Reading a per-protein HDF5 file: biosae beside the loop that everyone writes first.

    python bench/protein_h5.py [n_proteins]

Writes files of random float16 vectors of width 1,024, as UniProt's per-protein.h5 has them, and reads each in three
ways. Page cache warm, best of three; the memory is the peak over that before reading.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np

from biosae.data.vectors import find_vectors

WIDTH, BLOCK, REPEATS = 1024, 4096, 3


def main(n_proteins: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name, options in {"contiguous": {}, "gzip": {"compression": "gzip"}}.items():
            path = Path(folder) / f"{name}.h5"
            write(path, n_proteins, options)
            print(f"{name}, {n_proteins:,} proteins, {path.stat().st_size / 1e6:,.0f} MB")
            for way in WAYS:
                command = [sys.executable, __file__, "--one", way, str(path)]
                print(subprocess.run(command, capture_output=True, text=True, check=True).stdout, end="")


def write(path: Path, n_proteins: int, options: dict) -> None:
    generator = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        for n in range(n_proteins):
            file.create_dataset(f"P{n:07d}", data=generator.normal(size=WIDTH).astype(np.float16), **options)


def naive(path: Path) -> int:
    """Every key through the high-level interface, all in memory."""
    with h5py.File(path, "r") as file:
        return len(np.stack([file[key][:] for key in file.keys()]))


def low_level(path: Path) -> int:
    """Every key through h5py's low-level interface, into one array."""
    with h5py.File(path, "r") as file:
        names: list[bytes] = []
        file.id.links.iterate(names.append)
        out = np.empty((len(names), WIDTH), dtype=np.float16)
        for row, name in zip(out, names, strict=True):
            h5py.h5d.open(file.id, name).read(h5py.h5s.ALL, h5py.h5s.ALL, row)
        return len(out)


def ours(path: Path) -> int:
    """As `biosae train` reads it: found at once, read and checked in blocks."""
    vectors = find_vectors(path)
    return sum(len(vectors.read(np.arange(*bounds))) for bounds in blocks(len(vectors.ids)))


def blocks(n: int) -> list[tuple[int, int]]:
    return [(first, min(first + BLOCK, n)) for first in range(0, n, BLOCK)]


WAYS = {"naive": naive, "low_level": low_level, "biosae": ours}


def measure(way: str, path: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        n = WAYS[way](path)
        seconds.append(time.perf_counter() - start)
    memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1e3
    print(f"  {way:10} {min(seconds):6.2f} s  {1e6 * min(seconds) / n:6.1f} us a protein  {memory:6.0f} MB")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        measure(sys.argv[2], Path(sys.argv[3]))
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 50_000)
