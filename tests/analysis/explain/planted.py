"""Features with a planted explanation, and cells that differ in everything an explanation may name."""

from __future__ import annotations

from dataclasses import dataclass

import anndata
import numpy as np
import pandas as pd
from scipy import sparse

from biosae.analysis.genes.gene_sets import GeneSets

N_TYPES, N_GENES, N_SETS, PER_SET = 7, 260, 6, 12
TYPES = [f"type{t}" for t in range(N_TYPES)]
KINDS = ("gene", "class", "union", "class and gene", "set", "depth", "mitochondrial", "batch", "number")


@dataclass(frozen=True, eq=False)
class Planted:
    """A feature table, the expression of its cells, and what each feature stands for.

    Attributes
    ----------
    truth
        One row per feature: ``kind`` (of `KINDS`, or ``noise``) and ``names``, a tuple.
    """

    features: anndata.AnnData
    expression: anndata.AnnData
    sets: GeneSets
    truth: pd.DataFrame


def plant(per_kind: int = 6, n_noise: int = 60, n_cells: int = 1500, noise: float = 0.1, seed: int = 0) -> Planted:
    """Draw cells and features; ``noise`` is the standard deviation beside a signal of deviation 1."""
    generator = np.random.default_rng(seed)
    obs = _cells(generator, n_cells)
    values, symbols, sets = _expression(generator, obs)
    truth, columns = [], []
    for kind in KINDS:
        for _ in range(per_kind):
            names, signal = _signal(generator, kind, obs, values, symbols, sets)
            columns.append(signal / signal.std() + noise * generator.normal(size=n_cells))
            truth.append((kind, names))
    for number in range(n_noise):  # half of them fire in every cell, half in few
        strength = generator.gamma(1, 1, n_cells)
        columns.append(strength if number % 2 else strength * (generator.random(n_cells) < 0.05))
        truth.append(("noise", ()))
    codes = np.maximum(np.column_stack(columns), 0).astype(np.float32)
    features = anndata.AnnData(sparse.csr_matrix(codes), obs=obs)
    genes = anndata.AnnData(sparse.csr_matrix(values), obs=pd.DataFrame(index=obs.index))
    genes.var = pd.DataFrame({"identifier": symbols, "symbol": symbols, "token": -1}, index=symbols)
    return Planted(features, genes, sets, pd.DataFrame(truth, columns=["kind", "names"]))


def _cells(generator: np.random.Generator, n_cells: int) -> pd.DataFrame:
    columns = {
        "cell_type": generator.choice(TYPES, n_cells, p=[0.3, 0.2, 0.15, 0.12, 0.1, 0.08, 0.05]),
        "donor": generator.choice(["d0", "d1", "d2"], n_cells),
        "age": generator.normal(50, 10, n_cells),
        "n_counts": np.exp(generator.normal(8, 0.5, n_cells)),
        "biosae_part": generator.choice(["train", "validate", "select", "test"], n_cells, p=[0.4, 0.1, 0.25, 0.25]),
        "biosae_n_tokens": 100,
    }
    return pd.DataFrame(columns, index=[f"cell{i}" for i in range(n_cells)])


def _expression(generator: np.random.Generator, obs: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, GeneSets]:
    """Log expression: genes with their own level, genes of programmes, markers of types, mitochondrial genes."""
    n = len(obs)
    symbols = [f"GENE{i}" for i in range(N_GENES - 10)] + [f"MT-{i}" for i in range(10)]
    values = generator.gamma(2, 0.5, (n, N_GENES)) * (generator.random((n, N_GENES)) < 0.5)
    names, genes = [], []
    for number in range(N_SETS):  # genes of a set rise and fall together
        members = np.arange(number * PER_SET, (number + 1) * PER_SET)
        values[:, members] = np.maximum(generator.normal(2, 1, (n, 1)) + generator.normal(0, 1, (n, PER_SET)), 0)
        names.append(f"PROGRAMME_{number}")
        genes.append(frozenset(symbols[i] for i in members))
    for number, name in enumerate(TYPES):
        markers = slice(100 + 5 * number, 105 + 5 * number)
        values[:, markers] += 1.0 * (obs["cell_type"] == name).to_numpy()[:, None]
    share = generator.gamma(2, 0.02, n)
    values[:, -10:] = np.log1p(1e4 * share[:, None] * generator.dirichlet(np.ones(10), n))
    return values.astype(np.float32), np.array(symbols), GeneSets(names, ["programmes"] * N_SETS, genes)


def _signal(
    generator: np.random.Generator,
    kind: str,
    obs: pd.DataFrame,
    values: np.ndarray,
    symbols: np.ndarray,
    sets: GeneSets,
) -> tuple[tuple[str, ...], np.ndarray]:
    label = obs["cell_type"].to_numpy()
    gene = int(generator.integers(150, 240))  # neither in a programme nor a marker
    if kind == "gene":
        return (symbols[gene],), values[:, gene]
    if kind == "class":
        name = str(generator.choice(TYPES))
        return (name,), (label == name).astype(float)
    if kind == "union":
        names = tuple(sorted(map(str, generator.choice(TYPES, int(generator.integers(2, 4)), replace=False))))
        return names, np.isin(label, names).astype(float)
    if kind == "class and gene":
        name = TYPES[int(generator.integers(4))]
        return (name, symbols[gene]), (label == name) * values[:, gene]
    if kind == "set":
        number = int(generator.integers(N_SETS))
        return (sets.names[number],), values[:, number * PER_SET : (number + 1) * PER_SET].mean(axis=1)
    if kind == "depth":
        return ("sequencing depth",), np.log1p(obs["n_counts"].to_numpy()) - 6
    if kind == "mitochondrial":
        return ("mitochondrial share",), np.expm1(values[:, -10:]).sum(axis=1) / 1e4
    if kind == "batch":
        donor = str(generator.choice(["d0", "d1", "d2"]))
        return (donor,), (obs["donor"] == donor).to_numpy(float)
    return ("age",), obs["age"].to_numpy() - 20
