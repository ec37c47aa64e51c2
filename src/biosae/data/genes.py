"""Finding gene symbols and Ensembl ids among the columns of a file."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from biosae.errors import DataError

ENSEMBL = r"^ENS[A-Z]*G\d{6,}(\.\d+)?$"
HUMAN = r"^ENSG\d"
USUAL_COLUMNS = (
    "ensembl_id", "feature_id", "gene_ids", "gene_id", "ensembl",
    "feature_name", "gene_symbols", "gene_symbol", "symbol", "gene_name", "gene_names",
)  # fmt: skip


@dataclass(frozen=True)
class GeneNames:
    """Ensembl id (without version) and symbol of each column, "" where unknown, and where they were found."""

    ensembl_id: np.ndarray
    symbol: np.ndarray
    finding: str


def find_gene_names(var: pd.DataFrame, index: pd.Index, column: str | None) -> GeneNames:
    """Find the names of the genes, in the given column of ``var`` or in any of the usual places.

    Raises
    ------
    DataError
        If the column does not exist, names occur twice, or the ids are not human.
    """
    places = _places(var, index, column)
    is_ensembl = {place: float(names.str.fullmatch(ENSEMBL).mean()) > 0.5 for place, names in places.items()}
    ensembl = next((place for place in places if is_ensembl[place]), None)
    symbol = next((place for place in places if not is_ensembl[place]), None)
    # Ensembl ids identify a gene best; symbols are what people read.
    _check_unique(places[ensembl or symbol], ensembl or symbol)
    ids = places[ensembl] if ensembl else pd.Series("", index=range(len(index)))
    _check_human(ids)
    ids = ids.where(ids.str.fullmatch(ENSEMBL), "").str.replace(r"\.\d+$", "", regex=True)
    symbols = places[symbol] if symbol else pd.Series("", index=range(len(index)))
    parts = [f"Ensembl ids from {ensembl}"] * bool(ensembl) + [f"gene symbols from {symbol}"] * bool(symbol)
    return GeneNames(ids.to_numpy(str), symbols.to_numpy(str), " and ".join(parts))


def _places(var: pd.DataFrame, index: pd.Index, column: str | None) -> dict[str, pd.Series]:
    if column is not None:
        if column not in var:
            existing = ", ".join(map(str, var.columns)) or "no columns"
            raise DataError(f"gene_column {column} does not exist; var has {existing}", argument="gene_column")
        return {f'var["{column}"]': _text(var[column])}
    places = {f'var["{name}"]': _text(var[name]) for name in USUAL_COLUMNS if name in var}
    # The index comes first when it holds symbols or ids, and last when it holds neither (row numbers).
    names = _text(index.to_series())
    if names.str.fullmatch(r"\d*").mean() > 0.5:
        return places | {"var_names": names}
    return {"var_names": names} | places


def _text(values: pd.Series) -> pd.Series:
    return values.astype(object).where(values.notna(), "").astype(str).str.strip().reset_index(drop=True)


def _check_unique(names: pd.Series, place: str) -> None:
    repeated = names[names.duplicated() & (names != "")]
    if len(repeated):
        message = f"{len(repeated)} gene names in {place} occur more than once (for example {repeated.iloc[0]}); "
        advice = "make them unique with adata.var_names_make_unique() or name another column as gene_column"
        raise DataError(message + advice, argument="gene_column")


def _check_human(ids: pd.Series) -> None:
    ensembl = ids[ids.str.fullmatch(ENSEMBL)]
    if len(ensembl) and ensembl.str.match(HUMAN).mean() < 0.5:
        message = f"the Ensembl ids are not human (for example {ensembl.iloc[0]}); the models read human genes: "
        raise DataError(message + "map them to human orthologues first")
