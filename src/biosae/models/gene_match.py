"""Genes of a data set as tokens of a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from biosae.errors import ModelError

from .damaged_names import repaired_tokens

MIN_SHARE = 0.05  # matches below this share of the data set and of the vocabulary are chance hits of other names


@dataclass(frozen=True)
class GeneMatch:
    """The match of the genes of a data set with the vocabulary of a model.

    Attributes
    ----------
    token_of_column
        ``(n_columns,) int64`` vocabulary id of each gene, -1 for a gene that is not in the vocabulary.
    n_by_id, n_by_symbol
        Genes found by Ensembl id and by symbol.
    sentence
        The result as a sentence.
    """

    token_of_column: np.ndarray
    n_by_id: int
    n_by_symbol: int
    sentence: str

    @property
    def n_matched(self) -> int:
        return self.n_by_id + self.n_by_symbol


def match_by_id(var: pd.DataFrame, token_of_name: Mapping[str, int], model_name: str, n_genes: int) -> GeneMatch:
    """Return the token of each gene, by Ensembl id where there is one and by symbol where there is none.

    A gene whose Ensembl id is unknown is not looked up by its symbol: retired ids share symbols
    with living genes, and their counts would be added.

    Parameters
    ----------
    var
        Columns ``ensembl_id`` and ``symbol``, "" where unknown; case and version do not matter.
    token_of_name
        Tokens by Ensembl id and by upper-case symbol.
    n_genes
        Genes that the model knows.

    Raises
    ------
    ModelError
        If hardly any gene is known, or the symbols are those of a mouse.
    """
    ids, symbols = _names(var)
    from_id = _tokens(ids, token_of_name)
    from_symbol = np.where(ids == "", _tokens(symbols, token_of_name), -1)
    from_symbol, damaged = _repaired(ids, symbols, from_symbol, token_of_name)
    return _gene_match(var, from_id, from_symbol, damaged, model_name, n_genes)


def match_by_symbol(var: pd.DataFrame, token_of_name: Mapping[str, int], model_name: str, n_genes: int) -> GeneMatch:
    """Do as `match_by_id` for a vocabulary of symbols: by symbol first, and by Ensembl id where that is unknown."""
    ids, symbols = _names(var)
    from_symbol = _tokens(symbols, token_of_name)
    from_id = np.where(from_symbol < 0, _tokens(ids, token_of_name), -1)
    from_symbol, damaged = _repaired(ids, symbols, from_symbol, token_of_name)
    return _gene_match(var, from_id, from_symbol, damaged, model_name, n_genes)


def _names(var: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    ids = var["ensembl_id"].astype(str).str.upper().str.replace(r"\.\d+$", "", regex=True)
    return ids.to_numpy(str), var["symbol"].astype(str).str.upper().to_numpy(str)


def _tokens(names: np.ndarray, token_of_name: Mapping[str, int]) -> np.ndarray:
    return np.array([token_of_name.get(name, -1) for name in names], dtype=np.int64)


def _gene_match(
    var: pd.DataFrame,
    from_id: np.ndarray,
    from_symbol: np.ndarray,
    damaged: list[str],
    model_name: str,
    n_genes: int,
) -> GeneMatch:
    token = np.maximum(from_id, from_symbol)  # at most one of them is not -1
    n_by_id, n_by_symbol = int((from_id >= 0).sum()), int((from_symbol >= 0).sum())
    if n_by_symbol >= n_by_id:
        _check_human(var["symbol"])
    n_tokens = len(np.unique(token[token >= 0]))
    if n_by_id + n_by_symbol <= MIN_SHARE * len(var) and n_tokens <= MIN_SHARE * n_genes:
        raise ModelError(_too_few(var, n_by_id + n_by_symbol, model_name), argument="data.gene_column")
    sentence = (
        f"{model_name} knows {n_by_id + n_by_symbol:,} of {len(var):,} genes "
        f"({n_by_id:,} by Ensembl id, {n_by_symbol:,} by symbol); "
        f"they cover {n_tokens:,} of the {n_genes:,} genes it was trained on"
    )
    more = [*damaged, *_added(token, n_tokens), *_unknown(var, token)]
    return GeneMatch(token, n_by_id, n_by_symbol, "; ".join([sentence, *more]))


def _repaired(
    ids: np.ndarray, symbols: np.ndarray, from_symbol: np.ndarray, token_of_name: Mapping[str, int]
) -> tuple[np.ndarray, list[str]]:
    """Tokens by symbol, with those of symbols that R or a spreadsheet changed, and sentences about these.

    Only genes without an Ensembl id are looked up so.
    """
    is_open = (ids == "") & (from_symbol < 0)
    token, damaged = repaired_tokens(np.where(is_open, symbols, ""), token_of_name)
    return np.maximum(from_symbol, token), damaged


def _added(token: np.ndarray, n_tokens: int) -> list[str]:
    n_more = int((token >= 0).sum()) - n_tokens
    return [f"the counts of {n_more:,} are added to those of another column of the same gene"] if n_more else []


def _unknown(var: pd.DataFrame, token: np.ndarray) -> list[str]:
    rows = np.flatnonzero(token < 0)
    return [f"{len(rows):,} are unknown, such as {', '.join(_called(var, rows[:3]))}"] if len(rows) else []


def _called(var: pd.DataFrame, rows: np.ndarray) -> list[str]:
    """The names of some genes as people read them: symbol, else id, else the name of the row."""
    some = var.iloc[rows]
    names = zip(some["symbol"], some["ensembl_id"], some.index, strict=True)
    return [str(symbol or gene or name) for symbol, gene, name in names]


def _check_human(symbols: pd.Series) -> None:
    """Raise for symbols written as those of mice (Actb), most of which would match a human gene by letter."""
    symbols = symbols.astype(str)[symbols != ""]
    mouse = symbols.str.fullmatch(r"[A-Z][a-z]+[a-z0-9-]*")
    if len(symbols) and mouse.mean() > 0.5:
        examples = ", ".join(symbols[mouse][:3])
        message = f"the gene symbols are written as those of a mouse ({examples}); the models read human genes: "
        raise ModelError(message + "map them to human orthologues first")


def _too_few(var: pd.DataFrame, n_matched: int, model_name: str) -> str:
    some = zip(var["ensembl_id"][:3], var["symbol"][:3], var.index[:3], strict=True)
    names = [str(gene or symbol or name) for gene, symbol, name in some]
    return (
        f"{model_name} knows {n_matched or 'none'} of the {len(var):,} genes (they are called {', '.join(names)}); "
        "it expects human Ensembl ids or gene symbols: name the column of var that has them as gene_column"
    )
