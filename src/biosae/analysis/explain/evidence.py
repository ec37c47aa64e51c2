"""Evidence for explanations: pooled codes, and the annotations and expression of the same samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import anndata
import numpy as np
import pandas as pd
from scipy import sparse

from biosae.analysis.genes.gene_sets import GeneSets, family_members
from biosae.analysis.labels.classes import class_names, memberships, terms
from biosae.analysis.labels.continuous import is_continuous

MOST_SAMPLES = {"train": 5_000, "select": 5_000, "test": 5_000}  # more sharpen nothing that is shown
MIN_PER_CLASS = 3  # members on train and on select, and as many others
MIN_EXPRESSING = 10  # train samples that express a gene


@dataclass(frozen=True, eq=False)
class Classes:
    """One label column.

    Attributes
    ----------
    key
        Name of the column.
    names
        Its classes.
    member
        ``(n, n_classes) bool``.
    kind
        What one of them is called as an explanation.
    """

    key: str
    names: list[str]
    member: np.ndarray
    kind: str = "class"


@dataclass(frozen=True, eq=False)
class Variables:
    """Numbers that are known of every sample.

    Attributes
    ----------
    kinds, names
        Such as ``set`` and ``HALLMARK_HYPOXIA``.
    values
        ``(n, n_variables) float32``.
    """

    kinds: list[str]
    names: list[str]
    values: np.ndarray

    @classmethod
    def of(cls, columns: Sequence[tuple[str, str, np.ndarray]], n: int) -> Variables:
        """Variables from kind, name and values of each."""
        values = [np.nan_to_num(np.asarray(column, dtype=np.float32)) for _, _, column in columns]
        stacked = np.column_stack(values) if values else np.empty((n, 0), np.float32)
        return cls([kind for kind, _, _ in columns], [name for _, name, _ in columns], stacked)


@dataclass(frozen=True, eq=False)
class Evidence:
    """Codes of samples beside what may explain them.

    Attributes
    ----------
    rows
        Their rows in the feature table.
    codes
        ``(n, d_sae)`` CSC pooled codes.
    part
        ``(n,)`` train, select or test.
    group
        ``(n,)`` number of the donor or batch, within which codes are shuffled.
    labels
        Label columns with classes; the donor or batch comes as `batch`.
    variables
        Depth, mitochondrial share, gene families and sets, numbers of obs.
    genes, gene_names
        ``(n, n_genes)`` CSC log expression of the genes that enough train samples express; None for none.
    gene_kind
        ``gene``, or what stands in their place: ``k-mer``.
    """

    rows: np.ndarray
    codes: sparse.csc_matrix
    part: np.ndarray
    group: np.ndarray
    labels: list[Classes]
    variables: Variables
    batch: Classes | None = None
    genes: sparse.csc_matrix | None = None
    gene_names: np.ndarray = field(default_factory=lambda: np.empty(0, object))
    gene_kind: str = "gene"

    @cached_property
    def train_genes(self) -> sparse.csr_matrix:
        """``(n_train, n_genes)`` the genes of the train samples."""
        return self.genes.tocsr()[self.of_part("train")]

    def of_part(self, name: str) -> np.ndarray:
        """Rows of a part, counted within these samples; those of select where there are none to train on."""
        rows = np.flatnonzero(self.part == name)
        return rows if len(rows) or name != "train" else self.of_part("select")

    def shuffled(self, generator: np.random.Generator) -> Evidence:
        """The same with codes exchanged between samples of one part and group, which then explains nothing."""
        cell = np.unique(self.part.astype(str), return_inverse=True)[1] * (self.group.max(initial=0) + 1) + self.group
        to = np.empty(len(cell), dtype=np.int64)
        to[np.argsort(cell, kind="stable")] = np.lexsort((generator.random(len(cell)), cell))
        return replace(self, codes=self.codes.tocsr()[to].tocsc(), batch=None)


def gather_evidence(
    table: anndata.AnnData,
    expression: anndata.AnnData | None,
    label_keys: Sequence[str],
    group_key: str | None,
    sets: GeneSets,
    families: dict[str, list[str]],
    seed: int,
) -> Evidence:
    """Return the codes of some samples of each part, with all that is known of them.

    Parameters
    ----------
    table
        The feature table.
    expression
        Expression of the same cells, None for other samples.
    sets, families
        Gene sets and further families, whose mean expression is a variable.
    """
    generator = np.random.default_rng(seed)
    rows = _rows(table.obs, generator)
    obs = table.obs.iloc[rows]
    part = obs["biosae_part"].astype(str).to_numpy()
    own = [key for key in label_keys if key != group_key]
    labels = [classes_of(obs, key, part) for key in own if not is_continuous(obs[key])]
    columns = [("number", key, obs[key].to_numpy(float, na_value=np.nan)) for key in own if is_continuous(obs[key])]
    values = None if expression is None else sparse.csr_matrix(expression.X)[rows]
    columns += _size(obs)
    genes, names = None, np.empty(0, object)
    if values is not None:
        columns += _programmes(values, expression.var["symbol"].to_numpy(object), sets, families)
        is_train = part == "train" if (part == "train").any() else part == "select"
        kept = np.flatnonzero(np.bincount(values[is_train].indices, minlength=values.shape[1]) >= MIN_EXPRESSING)
        genes, names = values[:, kept].tocsc(), expression.var["symbol"].to_numpy(object)[kept]
    batch = None if group_key is None else classes_of(obs, group_key, part)
    return Evidence(
        rows=rows,
        codes=sparse.csr_matrix(table.X)[rows].tocsc(),
        part=part,
        group=np.zeros(len(rows), np.int64) if group_key is None else pd.factorize(obs[group_key].astype(str))[0],
        labels=[each for each in labels if each.names],
        variables=Variables.of(columns, len(rows)),
        batch=batch if batch is not None and batch.names else None,
        genes=genes,
        gene_names=names,
    )


def _rows(obs: pd.DataFrame, generator: np.random.Generator) -> np.ndarray:
    """Samples with tokens of the three parts, at most `MOST_SAMPLES` of each."""
    part, has_tokens = obs["biosae_part"].astype(str).to_numpy(), obs["biosae_n_tokens"].to_numpy() > 0
    chosen = []
    for name, most in MOST_SAMPLES.items():
        rows = np.flatnonzero((part == name) & has_tokens)
        chosen.append(rows if len(rows) <= most else generator.choice(rows, most, replace=False))
    return np.sort(np.concatenate(chosen))


def classes_of(obs: pd.DataFrame, key: str, part: np.ndarray, kind: str = "class") -> Classes:
    """The classes of a column that have enough members to be fitted."""
    text = class_names(obs[key])
    names = sorted({term for value in set(text) - {None} for term in terms(value)})
    member = memberships(text, names)
    counted = [part == name for name in ("train", "select") if (part == name).any()]
    enough = [(member[on].sum(0) >= MIN_PER_CLASS) & ((~member[on]).sum(0) >= MIN_PER_CLASS) for on in counted]
    kept = np.flatnonzero(np.all(enough, axis=0)) if names and enough else np.empty(0, int)
    return Classes(key, [names[i] for i in kept], member[:, kept], kind)


def _size(obs: pd.DataFrame) -> list[tuple[str, str, np.ndarray]]:
    """The size of a sample: counts of a cell, or tokens where these differ."""
    for name, text in (("n_counts", "sequencing depth"), ("biosae_n_tokens", "number of tokens")):
        if name in obs and pd.api.types.is_numeric_dtype(obs[name]) and obs[name].nunique() > 1:
            return [("depth", text, np.log1p(obs[name].to_numpy(dtype=float)))]
    return []


def _programmes(
    values: sparse.csr_matrix, symbols: np.ndarray, sets: GeneSets, families: dict[str, list[str]]
) -> list[tuple[str, str, np.ndarray]]:
    """Mean log expression of gene families and sets, and the share of mitochondrial counts."""
    found = []
    for name, members in family_members(symbols.astype(str), families).items():
        if name == "mitochondrial":
            counts = values[:, members].copy()
            counts.data = np.expm1(counts.data)
            found.append(("mitochondrial", "mitochondrial share", counts.sum(axis=1).A1 / 1e4))
        elif members.sum() > 1:
            found.append(("family", name, values[:, members].mean(axis=1).A1))
    kept, membership = sets.testable(symbols)
    means = (values @ membership.T.astype(np.float32)).toarray() / np.maximum(membership.sum(axis=1).A1, 1)
    return found + [("set", name, means[:, i]) for i, name in enumerate(kept.names)]
