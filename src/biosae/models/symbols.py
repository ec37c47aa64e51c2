"""Ensembl ids and former symbols for models whose vocabulary is gene symbols."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Mapping
from functools import cache
from importlib import resources


def token_of_any_name(token_of_symbol: Mapping[str, int]) -> dict[str, int]:
    """Return the token by upper-case symbol, by Ensembl id and by former or present symbol of the same gene.

    A symbol of the vocabulary always keeps its own token.
    """
    tokens = {}
    for symbol, token in token_of_symbol.items():
        tokens.setdefault(symbol.upper(), token)
    others = {}
    for ensembl_id, symbols in _hgnc().items():
        token = next((tokens[symbol] for symbol in symbols if symbol in tokens), None)
        if token is not None:
            others |= dict.fromkeys([ensembl_id, *symbols], token)
    return others | tokens


def is_special(name: str) -> bool:
    """Return whether a vocabulary entry stands for no gene, such as ``<pad>`` and ``<cls>``."""
    return name.startswith("<")


def approved_symbols() -> dict[str, str]:
    """Return the approved HGNC symbol by Ensembl id, in capitals but for ``orf``."""
    return {ensembl_id: _OPEN_FRAME.sub(r"\1orf\2", symbols[0]) for ensembl_id, symbols in _hgnc().items()}


_OPEN_FRAME = re.compile(r"^(C\d+|CX|CY)ORF(\d+)")


@cache
def _hgnc() -> dict[str, list[str]]:
    """Ensembl id to symbols, the approved one first; see genes/README.md."""
    file = resources.files("biosae.models") / "genes" / "hgnc_symbols.json.gz"
    return json.loads(gzip.decompress(file.read_bytes()))
