"""Gene symbols that R or a spreadsheet changed."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

_DATE = re.compile(r"(\d{1,2})-(MAR|SEPT?|DEC)|(MAR|SEPT?|DEC)-(\d{1,2})")
_GENE_OF_DATE = (
    {f"MAR{n}": (f"MARCH{n}", f"MARCHF{n}") for n in range(3, 12)}
    | {f"SEP{n}": (f"SEPT{n}", f"SEPTIN{n}") for n in range(1, 15)}
    | {"SEP15": ("SEP15", "SELENOF"), "DEC1": ("DEC1", "DELEC1")}
)
"""Dates that only one symbol became, with it and its present form; 1-Mar was MARCH1 or MARC1, 2-Mar likewise.

Other genes have had such names (SEP2 is a former one of SEPTIN6), so that nothing but these is looked up.
"""


def repaired_tokens(names: np.ndarray, token_of_name: Mapping[str, int]) -> tuple[np.ndarray, list[str]]:
    """Return the token of symbols that the vocabulary does not have as they are written, and what was read how.

    R writes HLA-DRA as HLA.DRA and 7SK as X7SK; spreadsheets write MARCH3 as 3-Mar. A name that could be either of
    two genes stays unknown.

    Parameters
    ----------
    names
        ``(n,) str`` symbols in capitals, "" for those that are not looked up.
    token_of_name
        Tokens by name in capitals.

    Returns
    -------
    ``(n,) int64`` tokens, -1 where unknown, and a sentence for each kind of damage.
    """
    token, dates, of_r = np.full(len(names), -1, np.int64), [], []
    by_r_name = _by_r_name(token_of_name) if any("." in name or name[:1] == "X" for name in names) else {}
    for n, name in enumerate(names.tolist()):
        if match := _DATE.fullmatch(name):
            token[n] = _token_of_date(match, token_of_name)
            dates.append(n)
        elif name and by_r_name.get(name, -1) >= 0:
            token[n] = by_r_name[name]
            of_r.append(n)
    return token, [*_said_of_dates(names, dates, token), *_said_of_r(names, of_r)]


def _token_of_date(match: re.Match, token_of_name: Mapping[str, int]) -> int:
    number, month = int(match[1] or match[4]), (match[2] or match[3])[:3]
    return next(
        (token_of_name[name] for name in _GENE_OF_DATE.get(f"{month}{number}", ()) if name in token_of_name), -1
    )


def _by_r_name(token_of_name: Mapping[str, int]) -> dict[str, int]:
    """Token by the names that R makes, -1 where it makes the same of two genes."""
    tokens: dict[str, int] = {}
    for name, token in token_of_name.items():
        if name.isalnum() and not name[0].isdigit():
            continue  # R leaves it as it is; most are
        made = re.sub(r"[^A-Z0-9._]", ".", name)
        made = f"X{made}" if made[:1].isdigit() else made
        if made != name:
            tokens[made] = token if tokens.get(made, token) == token else -1
    return tokens


def _said_of_dates(names: np.ndarray, rows: list[int], token: np.ndarray) -> list[str]:
    if not rows:
        return []
    unknown = int((token[rows] < 0).sum())
    rest = f", {unknown} of which stay unknown (1-Mar may be MARCH1 or MARC1)" if unknown else ""
    return [f"{len(rows)} genes are called as dates of a spreadsheet (such as {names[rows[0]]}){rest}"]


def _said_of_r(names: np.ndarray, rows: list[int]) -> list[str]:
    return [f"{len(rows):,} genes are written as R does (such as {names[rows[0]]})"] if rows else []
