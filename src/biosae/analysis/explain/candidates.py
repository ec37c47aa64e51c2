"""Candidate explanations of a block of features: of each kind the one that fits the train samples best."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from biosae.analysis.stats.correlation import most_correlated, standardised

from .evidence import Classes, Evidence

MOST_IN_UNION = 5  # classes; a longer name says nothing
N_GENES = 5  # tried together with a class

COMPLEXITY = {
    "nothing": 0,
    **dict.fromkeys(("class", "gene", "batch", "depth", "mitochondrial", "number", "amino acid", "position"), 1),
    **dict.fromkeys(("family", "set", "union", "k-mer"), 2),
    "class and gene": 3,
}
"""Kinds of explanations, simplest first; among equally simple ones the better fit counts."""

ONE_SIDED = frozenset({"class", "union", "batch", "amino acid", "class and gene", "k-mer"})
"""Kinds whose names say where a feature fires, not where it is silent."""


@dataclass(frozen=True, eq=False)
class Candidates:
    """One explanation for every feature of a block.

    Attributes
    ----------
    kind
        A key of `COMPLEXITY`.
    key
        The label column, for classes; else "".
    names
        ``(m,)`` a tuple of names for each feature: classes, the gene, both; empty for none.
    values
        ``(n, m) float32`` what is said of every sample.
    """

    kind: str
    key: str
    names: list[tuple[str, ...]]
    values: np.ndarray


def candidates(evidence: Evidence, features: slice) -> Iterator[Candidates]:
    """Yield the candidates of each kind for consecutive features."""
    train = evidence.of_part("train")
    codes = evidence.codes[:, features].tocsr()[train]
    y = codes.toarray().astype(np.float32)
    unit = standardised(y)
    yield from _of_variables(evidence, unit, train)
    for label in evidence.labels:
        of_class = _single(label, label.kind, unit, train)
        yield of_class
        if len(label.names) > 2:
            yield _union(label, y, train)
        if evidence.gene_kind == "gene" and evidence.genes is not None:
            yield _class_and_gene(evidence, label, of_class, codes, unit)
    if evidence.batch is not None:
        yield _single(evidence.batch, "batch", unit, train)
    if evidence.genes is not None:
        best = most_correlated(codes.tocsc(), evidence.train_genes.tocsc(), 1)[:, 0]
        names = [(str(evidence.gene_names[g]),) if g >= 0 else () for g in best]
        yield Candidates(evidence.gene_kind, "", names, _columns(evidence.genes, best))


def _of_variables(evidence: Evidence, unit: np.ndarray, train: np.ndarray) -> Iterator[Candidates]:
    """The variable of each kind with the largest correlation, of either sign."""
    variables = evidence.variables
    for kind in dict.fromkeys(variables.kinds):
        columns = np.flatnonzero(np.array(variables.kinds) == kind)
        r = unit.T @ standardised(variables.values[np.ix_(train, columns)])
        best = columns[np.abs(r).argmax(axis=1)]
        yield Candidates(kind, "", [(variables.names[c],) for c in best], variables.values[:, best])


def _single(label: Classes, kind: str, unit: np.ndarray, train: np.ndarray) -> Candidates:
    """The class in which a feature fires more than elsewhere."""
    member = label.member.astype(np.float32)
    best = (unit.T @ standardised(member[train])).argmax(axis=1)
    return Candidates(kind, label.key, [(label.names[c],) for c in best], member[:, best])


def _union(label: Classes, y: np.ndarray, train: np.ndarray) -> Candidates:
    """Two or more classes together.

    The best split of classes into two sets lies in the order of their means (Breiman et al. 1984, theorem 4.5), so that
    only as many unions as classes are tried.
    """
    member = label.member[train].astype(np.float64)
    size = member.sum(axis=0)
    means = (member.T @ y) / np.maximum(size, 1)[:, None]  # (n_classes, m)
    order = np.argsort(-means, axis=0, kind="stable")
    n_inside = np.cumsum(size[order], axis=0)
    total = np.cumsum(np.take_along_axis(means * size[:, None], order, 0), axis=0)
    n_outside = np.maximum(size.sum() - n_inside, 1)
    gap = total / n_inside - (total[-1] - total) / n_outside
    explained = n_inside * n_outside * gap**2
    last = min(MOST_IN_UNION, len(label.names) - 1)
    n_joined = 2 + explained[1:last].argmax(axis=0) if last > 1 else np.full(y.shape[1], 1)
    chosen = np.zeros(means.shape, dtype=bool)
    np.put_along_axis(chosen, order, np.arange(len(order))[:, None] < n_joined, axis=0)
    names = [tuple(label.names[c] for c in order[: n_joined[f], f]) for f in range(y.shape[1])]
    values = (label.member.astype(np.float32) @ chosen.astype(np.float32)) > 0
    return Candidates("union", label.key, names, values.astype(np.float32))


def _class_and_gene(
    evidence: Evidence, label: Classes, of_class: Candidates, codes: sparse.csr_matrix, unit: np.ndarray
) -> Candidates:
    """The level of a gene inside the class and 0 outside, of the best of a few genes that follow the code there."""
    train, number = evidence.of_part("train"), {name: c for c, name in enumerate(label.names)}
    column = np.array([number[names[0]] for names in of_class.names])
    best = np.full((len(column), N_GENES), -1)
    for c in np.unique(column):
        inside, own = np.flatnonzero(label.member[train, c]), np.flatnonzero(column == c)
        best[own] = most_correlated(codes[inside][:, own].tocsc(), evidence.train_genes[inside].tocsc(), N_GENES)
    values, reached = np.zeros_like(of_class.values), np.full(len(column), -np.inf)
    gene = np.full(len(column), -1)
    for slot in range(N_GENES):
        product = of_class.values * _columns(evidence.genes, best[:, slot])
        r = np.einsum("nm,nm->m", unit, standardised(product[train]))
        better = (r > reached) & (best[:, slot] >= 0)
        values[:, better], reached[better], gene[better] = product[:, better], r[better], best[better, slot]
    names = [(*of_class.names[f], str(evidence.gene_names[g])) if g >= 0 else () for f, g in enumerate(gene)]
    return Candidates("class and gene", label.key, names, values)


def _columns(matrix: sparse.csc_matrix, columns: np.ndarray) -> np.ndarray:
    """Dense columns, zeros for -1."""
    if not matrix.shape[1]:
        return np.zeros((matrix.shape[0], len(columns)), np.float32)
    values = matrix[:, np.maximum(columns, 0)].toarray()
    values[:, columns < 0] = 0
    return values
