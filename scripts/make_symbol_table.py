"""Make the table of gene symbols that ships with the package from a file of HGNC records (CC0).

python scripts/make_symbol_table.py hgnc_complete_set.txt.gz src/biosae/models/genes/hgnc_symbols.json.gz
"""

from __future__ import annotations

import argparse
import gzip
import json
from collections import Counter
from pathlib import Path

import pandas as pd


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("records", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    table = symbols_by_id(pd.read_csv(args.records, sep="\t", dtype=str, keep_default_na=False))
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with gzip.GzipFile(args.out, "wb", mtime=0) as file:
        file.write(json.dumps(table, separators=(",", ":")).encode())


def symbols_by_id(records: pd.DataFrame) -> dict[str, list[str]]:
    """Ensembl id -> approved symbol, then former ones that no other gene bears or bore; upper case."""
    approved = records[records["status"] == "Approved"]
    former = Counter(symbol for symbols in approved["prev_symbol"] for symbol in set(symbols.upper().split("|")))
    taken = {*approved["symbol"].str.upper(), *(symbol for symbol, n_genes in former.items() if n_genes > 1)}
    named = approved[approved["ensembl_gene_id"] != ""]
    rows = zip(named["ensembl_gene_id"], named["symbol"], named["prev_symbol"], strict=True)
    return {id: [symbol.upper(), *_only(previous, taken)] for id, symbol, previous in rows}


def _only(symbols: str, taken: set[str]) -> list[str]:
    return [symbol.upper() for symbol in symbols.split("|") if symbol and symbol.upper() not in taken]


if __name__ == "__main__":
    main()
