"""Finding gene symbols and Ensembl ids among the columns of a file."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from biosae.errors import DataError

from .text import as_text

ENSEMBL = r"^ENS[A-Z]*G\d{6,}(\.\d+)?$"
HUMAN = r"^ENSG\d"
NUMBER = r"\d+(\.0)?"
USUAL_COLUMNS = (
    "ensembl_id", "feature_id", "gene_ids", "gene_id", "ensembl",
    "feature_name", "gene_symbols", "gene_symbol", "symbol", "gene_name", "gene_names",
)  # fmt: skip


@dataclass(frozen=True)
class GeneNames:
    """Names of the genes of a file.

    Attributes
    ----------
    ensembl_id, symbol
        Ensembl id (without version) and symbol of each gene, "" where unknown.
    name
        Unique name of each gene: that of the file, or where this repeats its Ensembl id or symbol.
    finding
        The places of the names as a sentence.
    """

    ensembl_id: np.ndarray
    symbol: np.ndarray
    name: pd.Index
    finding: str


def find_gene_names(var: pd.DataFrame, index: pd.Index, column: str | None) -> GeneNames:
    """Find the names of the genes, in the given column of ``var`` or in any of the usual places.

    Each gene takes its first Ensembl id and its first symbol: one column may hold both. Numbers are neither: they
    count rows, or are ids of Entrez, which no model knows.

    Raises
    ------
    DataError
        If the column does not exist, names occur twice, or the ids are not human.
    """
    places = _places(var, index, column)
    is_id = {place: names.str.fullmatch(ENSEMBL).to_numpy() for place, names in places.items()}
    is_symbol = {place: ~is_id[place] & ~_is_number(names) for place, names in places.items()}
    ids, place_of_id = _first(places, is_id)
    symbols, place_of_symbol = _first(places, is_symbol)
    # Ensembl ids identify a gene best; symbols are what people read.
    _check_unique(ids, place_of_id)
    _check_unique(np.where(ids == "", symbols, ""), place_of_symbol)
    _check_human(ids)
    parts = [*_said("Ensembl ids", place_of_id), *_said("gene symbols", place_of_symbol)]
    n_nameless = int(((ids == "") & (symbols == "")).sum())
    without = f"; {n_nameless:,} genes have neither" if n_nameless else ""
    bare = pd.Series(ids, dtype=object).str.replace(r"\.\d+$", "", regex=True).to_numpy(str)
    name = _unique_names(index, np.where(ids == "", symbols, ids))
    return GeneNames(bare, symbols.astype(str), name, " and ".join(parts) + without)


def _places(var: pd.DataFrame, index: pd.Index, column: str | None) -> dict[str, pd.Series]:
    if column is not None:
        if column not in var:
            existing = ", ".join(map(str, var.columns)) or "no columns"
            raise DataError(f"gene_column {column} does not exist; var has {existing}", argument="gene_column")
        return {f'var["{column}"]': as_text(var[column])}
    columns = {f'var["{name}"]': as_text(var[name]) for name in USUAL_COLUMNS if name in var}
    return {"var_names": as_text(index.to_series())} | columns


def _is_number(names: pd.Series) -> np.ndarray:
    return ((names == "") | names.str.fullmatch(NUMBER)).to_numpy()


def _first(places: dict[str, pd.Series], wanted: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The first wanted name of each gene and its place, "" where there is none."""
    n_genes = len(next(iter(places.values())))
    names, where = np.full(n_genes, "", object), np.full(n_genes, "", object)
    for place, column in places.items():
        found = wanted[place] & (names == "")
        names[found], where[found] = column.to_numpy(object)[found], place
    return names, where


def _said(what: str, where: np.ndarray) -> list[str]:
    """The places of a kind of names, with numbers unless all are from one place."""
    counts = pd.Series(where[where != ""], dtype=object).value_counts()
    if len(counts) == 1 and counts.iloc[0] == len(where):
        return [f"{what} from {counts.index[0]}"]
    return [f"{n:,} {what} from {place}" for place, n in counts.items()]


def _unique_names(index: pd.Index, key: np.ndarray) -> pd.Index:
    """Names of the file, where they repeat the unique key, and where this is missing too the number of the row."""
    names = index.astype(str).to_numpy(object)
    repeated = pd.Index(names).duplicated(keep=False)
    rows = np.arange(len(names)).astype(str)
    names = np.where(repeated, np.where(key == "", names + "-" + rows, key), names)
    taken = pd.Index(names).duplicated()
    return pd.Index(np.where(taken, names + "-" + rows, names), dtype=object, name=index.name)


def _check_unique(names: np.ndarray, where: np.ndarray) -> None:
    repeated = np.flatnonzero(pd.Index(names).duplicated() & (names != ""))
    if len(repeated):
        example, place = names[repeated[0]], where[repeated[0]]
        message = f"{len(repeated)} gene names in {place} occur more than once (for example {example}); "
        advice = "make them unique with adata.var_names_make_unique() or name another column as gene_column"
        raise DataError(message + advice, argument="gene_column")


def _check_human(ids: np.ndarray) -> None:
    ensembl = pd.Series(ids[ids != ""], dtype=object)
    if len(ensembl) and ensembl.str.match(HUMAN).mean() < 0.5:
        message = f"the Ensembl ids are not human (for example {ensembl.iloc[0]}); the models read human genes: "
        raise DataError(message + "map them to human orthologues first")
