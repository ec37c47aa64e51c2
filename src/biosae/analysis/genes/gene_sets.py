"""Named sets of genes, packaged or from GMT and JSON files, and gene families recognised by symbol."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import sparse

from biosae.errors import DataError

PACKAGED = Path(__file__).parent / "genesets"
MIN_SET, MAX_SET = 5, 500  # genes of a set that the model could emit

PATTERNS = {
    "ribosomal": r"RP[LS]\d+([AXL]|AX?L?|Y\d)?$|RPLP[0-2]$|RPSA$|RPS27L$|FAU$|UBA52$",
    "mitochondrial": r"MT-",
    "HLA": r"HLA-(?!.*-AS)|B2M$",
    "T-cell receptor": r"TR[ABGD]([VJ][\d/DV-]+[A-Z]?\d*|D\d+|C\d?)$",
    "immunoglobulin": r"IG[HKL]([VJ][\d/ODRV-]+[A-Z]?|D\d[\d/OR-]*[AB]?|C\d?)$|IGH[ADEGM]\d?$|JCHAIN$",
    "histone": r"H1-\d+$|MACROH2A\d$|H2A[CB]\d+$|H2A[JLWXZPQ]\d*$|H2B[CWKLU]\d+$|H3-\d[ABC]?$|H[34]C\d+$|H4-16$|HIST\d",
    "metallothionein": r"MT1[ABEFGHMX]$|MT2A$|MT[34]$",
    "heat shock": r"HSP[ABCDEH]\d+[A-Z]*\d*[A-Z]?\d?$|HSP90[AB]|DNAJ[ABC]\d+[A-Z]?$",
}
"""Approved human symbols (HGNC gene groups), matched from the start of the symbol."""


@dataclass(frozen=True)
class GeneSets:
    """Sets of gene symbols.

    Attributes
    ----------
    names, sources
        Name of each set, and the file it is from.
    genes
        The symbols of each set.
    """

    names: list[str]
    sources: list[str]
    genes: list[frozenset[str]]

    def __len__(self) -> int:
        return len(self.names)

    def __add__(self, other: GeneSets) -> GeneSets:
        return GeneSets(self.names + other.names, self.sources + other.sources, self.genes + other.genes)

    def chosen(self, which: Sequence[int] | np.ndarray) -> GeneSets:
        """The sets with the given numbers."""
        return GeneSets(*([column[i] for i in which] for column in (self.names, self.sources, self.genes)))

    def testable(self, symbols: np.ndarray) -> tuple[GeneSets, sparse.csr_matrix]:
        """Return the sets with `MIN_SET` to `MAX_SET` of the symbols, and their `membership`."""
        members = self.membership(symbols)
        size = np.diff(members.indptr)
        kept = np.flatnonzero((size >= MIN_SET) & (size <= MAX_SET))
        return self.chosen(kept), members[kept]

    def membership(self, symbols: np.ndarray) -> sparse.csr_matrix:
        """``(n_sets, n_symbols)`` ones where the symbol is in the set; empty symbols are in none."""
        columns: dict[str, list[int]] = {}
        for column, symbol in enumerate(symbols):
            if symbol:
                columns.setdefault(symbol, []).append(column)
        found = [[c for gene in genes if gene in columns for c in columns[gene]] for genes in self.genes]
        offsets = np.cumsum([0] + [len(members) for members in found])
        indices = np.array([column for members in found for column in members], dtype=np.int64)
        shape = (len(self), len(symbols))
        matrix = sparse.csr_matrix((np.ones(len(indices), dtype=np.int64), indices, offsets), shape=shape)
        matrix.sort_indices()
        return matrix


def packaged_gene_sets() -> GeneSets:
    """Hallmark, GO cellular component and GO molecular function (MSigDB, CC BY 4.0)."""
    return read_gene_sets(sorted(PACKAGED.glob("*.gmt.gz")))


def hallmark_sets() -> GeneSets:
    """The fifty Hallmark sets that come with the package."""
    return read_gene_sets([PACKAGED / "hallmark.gmt.gz"])


def read_families(paths: Iterable[Path | str]) -> dict[str, list[str]]:
    """Further gene families, name to symbols, from the same kinds of file.

    Raises
    ------
    DataError
        As `read_gene_sets`.
    """
    sets = read_gene_sets(paths)
    return {name: sorted(genes) for name, genes in zip(sets.names, sets.genes, strict=True)}


def read_gene_sets(paths: Iterable[Path | str]) -> GeneSets:
    """The sets of several files: GMT (``.gmt``, ``.gmt.gz``) or JSON (name to list of symbols).

    Raises
    ------
    DataError
        If a file is missing, of another kind, malformed or without sets; the line is named.
    """
    sets = GeneSets([], [], [])
    for path in map(Path, paths):
        sets = sets + _read(path)
    return sets


def _read(path: Path) -> GeneSets:
    name = path.name.removesuffix(".gz")
    if not name.endswith((".gmt", ".json")):
        raise DataError(f"gene sets must be in a .gmt or .json file, got {path}")
    try:
        text = (gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()).decode("utf-8")
    except FileNotFoundError:
        raise DataError(f"the gene set file {path} does not exist") from None
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise DataError(f"the gene set file {path} cannot be read: {error}") from error
    sets = _parse_gmt(text, path) if name.endswith(".gmt") else _parse_json(text, path)
    if not sets:
        raise DataError(f"the gene set file {path} holds no set")
    source = name.rpartition(".")[0]
    return GeneSets(list(sets), [source] * len(sets), list(sets.values()))


def _parse_gmt(text: str, path: Path) -> dict[str, frozenset[str]]:
    sets: dict[str, frozenset[str]] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        fields = line.split("\t")
        # Some collections append a weight to the symbol: "IL2RA,1.0".
        genes = frozenset(gene.partition(",")[0].strip() for gene in fields[2:]) - {""}
        if len(fields) < 3 or not fields[0].strip() or not genes:
            message = f"{path} line {number}: expected a name, a description and gene symbols separated by tabs"
            raise DataError(f"{message}, got {line[:60]!r}")
        if fields[0].strip() in sets:
            raise DataError(f"{path} line {number}: the set {fields[0].strip()} is there twice")
        sets[fields[0].strip()] = genes
    return sets


def _parse_json(text: str, path: Path) -> dict[str, frozenset[str]]:
    try:
        content = json.loads(text)
    except ValueError as error:
        raise DataError(f"{path} is no JSON: {error}") from error
    is_list = lambda genes: isinstance(genes, list) and genes and all(isinstance(gene, str) for gene in genes)  # noqa: E731
    if not isinstance(content, dict) or not all(map(is_list, content.values())):
        raise DataError(f'{path} must map set names to lists of symbols, as in {{"my set": ["IL2RA", "FOXP3"]}}')
    return {name: frozenset(genes) for name, genes in content.items()}


def family_members(symbols: np.ndarray, extra: dict[str, list[str]]) -> dict[str, np.ndarray]:
    """``(n_symbols,) bool`` for every family: those of `PATTERNS` and the user's own lists of symbols."""
    patterns = {name: re.compile(pattern) for name, pattern in PATTERNS.items()}
    found = {name: np.array([bool(p.match(s)) for s in symbols], dtype=bool) for name, p in patterns.items()}
    return found | {name: np.isin(symbols, list(genes)) for name, genes in extra.items()}


def gene_family_scores(
    total: sparse.csr_matrix, n_tokens: np.ndarray, symbols: np.ndarray, extra: dict[str, list[str]]
) -> pd.DataFrame:
    """One row per feature: the columns of ``families`` in docs/formats.md.

    For each family the share of the feature's summed activation on its genes; ``family`` is the
    one that exceeds its share of all tokens most (in share), ``excess`` by how much. Empty for a
    feature that never fires; ``family`` is empty when none exceeds.

    Parameters
    ----------
    total
        ``(d_sae, n_vocabulary)`` summed code by feature and gene.
    n_tokens
        ``(n_vocabulary,)`` tokens of each gene.
    extra
        Further families: name to symbols.
    """
    members = family_members(symbols, extra)
    indicator = np.column_stack(list(members.values())).astype(np.float64)  # (n_vocabulary, n_families)
    whole = np.asarray(total.sum(axis=1), dtype=np.float64).ravel()
    share = np.divide(
        total @ indicator,
        whole.reshape(-1, 1),
        out=np.full((len(whole), len(members)), np.nan),
        where=whole.reshape(-1, 1) > 0,
    )
    excess = share - n_tokens @ indicator / n_tokens.sum()
    best = np.where(np.isnan(excess), -np.inf, excess).argmax(axis=1)
    largest = excess[np.arange(len(best)), best]
    family = np.where(largest > 0, np.array(list(members), dtype=object)[best], None)
    columns = {"family": family, "excess": np.where(largest > 0, largest, np.nan)}
    columns |= {name: share[:, i] for i, name in enumerate(members)}
    return pd.DataFrame(columns).rename_axis("feature")
