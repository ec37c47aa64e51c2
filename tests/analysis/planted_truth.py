"""Activations with a known truth: programmes, superposition, batches and donors, for testing scores.

Every token carries a sparse sum of programmes, each a direction. There are more programmes than
dimensions, so that they overlap. What each programme stands for is known, and so is what a score
must find and what it must not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import sparse

SPLIT = {"train": 0.4, "validate": 0.1, "select": 0.25, "test": 0.25}


@dataclass(frozen=True, eq=False)
class Simulation:
    """Simulated cells.

    Attributes
    ----------
    values
        ``(n_tokens, d_in) float32`` activations.
    sample, token, value
        ``(n_tokens,)`` int64 row of the cell, int32 gene, float32 input value.
    obs
        One row a cell: ``cell_type``, ``donor``, ``batch``, ``age`` (a number without effect),
        ``biosae_part``.
    programmes
        ``(n_programmes, d_in) float32`` unit directions.
    activity
        ``(n_tokens, n_programmes)`` CSR float32: how strongly each programme is on.
    truth
        One row a programme: ``kind`` (``cell_type``, ``genes``, ``batch``, ``donor``, ``noise``) and
        ``target``, the class, the gene family or nothing.
    symbols
        ``(n_genes,)`` names of the genes; those of family ``k`` are ``F<k>G<i>``.
    """

    values: np.ndarray
    sample: np.ndarray
    token: np.ndarray
    value: np.ndarray
    obs: pd.DataFrame
    programmes: np.ndarray
    activity: sparse.csr_matrix
    truth: pd.DataFrame
    symbols: np.ndarray


def simulate(
    seed: int = 0,
    n_cells: int = 600,
    genes_per_cell: int = 30,
    d_in: int = 32,
    n_genes: int = 400,
    n_cell_types: int = 5,
    n_families: int = 5,
    n_donors: int = 8,
    n_batches: int = 2,
    n_noise: int = 30,
    noise: float = 0.05,
) -> Simulation:
    """Draws cells; donors differ in composition, each donor is measured in one batch.

    Parameters
    ----------
    n_cell_types, n_families, n_batches, n_donors, n_noise
        Programmes of each kind: on in the cells of a type, on the genes of a family, in a batch, in
        a donor, or anywhere at random.
    noise
        Standard deviation of what is added to every activation.
    """
    generator = np.random.default_rng(seed)
    obs = _cells(generator, n_cells, n_cell_types, n_donors, n_batches)
    sample = np.repeat(np.arange(n_cells), genes_per_cell)
    token = np.concatenate([generator.permutation(n_genes)[:genes_per_cell] for _ in range(n_cells)]).astype(np.int32)
    truth = _truth(obs, n_families, n_noise)
    activity = _activity(generator, obs, sample, token, truth, n_genes // (2 * n_families))
    programmes = generator.normal(size=(len(truth), d_in))
    programmes /= np.linalg.norm(programmes, axis=1, keepdims=True)
    values = activity @ programmes + noise * generator.normal(size=(len(sample), d_in))
    return Simulation(
        values=values.astype(np.float32),
        sample=sample,
        token=token,
        value=generator.gamma(2.0, 1.0, len(sample)).astype(np.float32),
        obs=obs,
        programmes=programmes.astype(np.float32),
        activity=activity,
        truth=truth,
        symbols=_symbols(n_genes, n_families),
    )


def _cells(
    generator: np.random.Generator, n_cells: int, n_cell_types: int, n_donors: int, n_batches: int
) -> pd.DataFrame:
    donor = generator.integers(0, n_donors, n_cells)
    composition = generator.dirichlet(np.full(n_cell_types, 3.0), n_donors)
    drawn = generator.random(n_cells)[:, None] > np.cumsum(composition, axis=1)[donor]
    cell_type = np.minimum(drawn.sum(axis=1), n_cell_types - 1)
    columns = {
        "cell_type": pd.Categorical([f"type{t}" for t in cell_type]),
        "donor": pd.Categorical([f"donor{d}" for d in donor]),
        "batch": pd.Categorical([f"batch{d % n_batches}" for d in donor]),
        "age": generator.normal(50, 10, n_cells),
        "biosae_part": pd.Categorical(generator.choice(list(SPLIT), n_cells, p=list(SPLIT.values()))),
    }
    return pd.DataFrame(columns, index=[f"cell{i}" for i in range(n_cells)])


def _truth(obs: pd.DataFrame, n_families: int, n_noise: int) -> pd.DataFrame:
    rows = [(key, name) for key in ("cell_type", "batch", "donor") for name in obs[key].cat.categories]
    rows += [("genes", str(family)) for family in range(n_families)] + [("noise", "")] * n_noise
    return pd.DataFrame(rows, columns=["kind", "target"])


def _activity(
    generator: np.random.Generator,
    obs: pd.DataFrame,
    sample: np.ndarray,
    token: np.ndarray,
    truth: pd.DataFrame,
    family_size: int,
) -> sparse.csr_matrix:
    """Where each programme is on, with a strength of 1 to 2."""
    columns = []
    for kind, target in truth.itertuples(index=False):
        if kind == "genes":
            on = (token // family_size == int(target)) & (generator.random(len(sample)) < 0.8)
        elif kind == "noise":
            on = generator.random(len(sample)) < 0.02
        else:
            on = (obs[kind] == target).to_numpy()[sample] & (generator.random(len(sample)) < 0.2)
        columns.append(sparse.csc_matrix(np.where(on, generator.uniform(1, 2, len(sample)), 0)[:, None]))
    return sparse.hstack(columns, format="csr").astype(np.float32)


def _symbols(n_genes: int, n_families: int) -> np.ndarray:
    """Half of the genes belong to a family."""
    size = n_genes // (2 * n_families)
    names = [f"F{g // size}G{g % size}" if g < size * n_families else f"G{g}" for g in range(n_genes)]
    return np.array(names)
