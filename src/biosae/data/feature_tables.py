"""UniProt's feature tables: stretches of residues with a type and a note, in the formats that it offers.

Read are GFF files, entries as text (``FT`` lines), entries as JSON and those columns of a TSV download that hold
features.
"""

from __future__ import annotations

import gzip
import json
import logging
import re
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pandas as pd

from biosae.errors import DataError

from .fasta import accession
from .feature_concepts import NAMES, chosen, named, with_groups

logger = logging.getLogger(__name__)

COLUMNS = ("id", "type", "start", "end", "note")
GFF_SUFFIXES, TEXT_SUFFIXES, JSON_SUFFIX = (".gff", ".gff3"), (".txt", ".dat"), ".json"
TEXT_BEGINS = b"ID   "
GFF_COLUMNS = ("id", "source", "type", "start", "end", "score", "strand", "phase", "attributes")
GFF_NOTES = ("[Nn]ote", "[Ll]igand")
TEXT_ONLY = {"dtype": object, "keep_default_na": False, "na_values": [""], "encoding": "utf-8-sig"}
"""Options of `pandas.read_csv` that leave every word as it stands: only an empty cell is missing."""

FEATURE = re.compile(r'([A-Z][A-Z_]+)\s+([^\s;]+)((?:[\s;]*/\w+="(?:[^"]|"")*")*)')  # key, place, qualifiers
NOTE = re.compile(r'/(?:note|ligand)="((?:[^"]|"")*)"')
POSITION = re.compile(r"[<>?]?(\d+)")
"""One end of a feature; ``<``, ``>`` and ``?`` say that it may lie elsewhere."""

UNKNOWN = "?"
JSON_SIGNS = {"OUTSIDE": "<", "UNSURE": "?"}


def is_feature_file(path: Path) -> bool:
    """Return whether a file is a feature table only; a table of another kind may be called ``.txt`` too."""
    name = path.name.removesuffix(".gz")
    if name.endswith(TEXT_SUFFIXES):
        with suppress(OSError, EOFError, zlib.error):  # its reader raises the error
            return _content(path).startswith(TEXT_BEGINS)
    return name.endswith((*GFF_SUFFIXES, JSON_SUFFIX))


def feature_columns(table: pd.DataFrame) -> list[str]:
    """The columns of a UniProt TSV that hold features, such as ``DOMAIN 20..60; /note="SH2"``."""
    return [name for name in table if _holds_features(table[name].dropna())]


def _holds_features(values: pd.Series) -> bool:
    firsts = (FEATURE.match(str(value)) for value in values)
    return len(values) > 0 and all(first and first[1] in NAMES for first in firsts)


def read_features(path: Path, argument: str) -> pd.DataFrame:
    """Read the features of GFF, or of entries as text or JSON (``.gz`` too): `COLUMNS`, positions from 1, inclusive.

    An end that may lie elsewhere (``<1``, ``>200``, ``?12``) is read as the residue that it names. Features with an
    unknown end (``?``), or on the sequence of another isoform, are left out. The log counts both.

    Raises
    ------
    DataError
        If the file cannot be read or holds no feature.
    """
    try:
        found = _reader(path)(path)
    except FileNotFoundError:
        raise DataError(f"{argument}: {path} does not exist", argument) from None
    except (OSError, EOFError, ValueError, RecursionError, zlib.error) as error:
        message = f"{argument}: {path} cannot be read: {' '.join(str(error).split())}"
        raise DataError(message, argument) from error
    if found.empty:
        message = f"{argument}: {path} holds no feature; expected GFF, or UniProt's entries as text or JSON"
        raise DataError(message, argument)
    return placed(found)


def _reader(path: Path) -> Any:
    name = path.name.removesuffix(".gz")
    if name.endswith(JSON_SUFFIX):
        return _read_json
    return _read_gff if name.endswith(GFF_SUFFIXES) else _read_text


def features_in(table: pd.DataFrame) -> pd.DataFrame:
    """The features in a UniProt TSV, whose first column names the proteins."""
    texts = table[feature_columns(table)].fillna("").agg("; ".join, axis=1)
    return placed(_parsed(zip(table.iloc[:, 0].fillna(""), texts, strict=True)))


def terms_of(features: pd.DataFrame) -> pd.Series:
    """Return the terms of each protein, separated by ``;``: the ``type`` of its features, and ``type: group``."""
    terms = with_groups(chosen(features, None)).drop_duplicates(["id", "type"])
    return terms["type"].str.replace(";", ",").groupby(terms["id"], sort=False).agg("; ".join)


def _read_gff(path: Path) -> pd.DataFrame:
    table = pd.read_csv(path, sep="\t", comment="#", header=None, names=GFF_COLUMNS, **TEXT_ONLY)
    attributes = table["attributes"].fillna("")
    note, ligand = (attributes.str.extract(f"(?:^|;)(?:{name})=([^;]*)", expand=False) for name in GFF_NOTES)
    note = note.fillna(ligand).fillna("").map(unquote)
    kind = table["type"].fillna("").map(named)
    return table.assign(note=note, type=kind, id=table["id"].fillna("").map(accession))[list(COLUMNS)]


def _read_text(path: Path) -> pd.DataFrame:
    return _parsed(_entries(path))


def _read_json(path: Path) -> pd.DataFrame:
    """Features of one entry, of a list of them, or of the ``results`` of a download."""
    content = json.loads(_content(path))
    if isinstance(content, dict):
        content = content.get("results", [content])
    rows = []
    for entry in content:
        if not isinstance(entry, dict) or not isinstance(entry.get("primaryAccession"), str):
            raise ValueError("an entry has no primaryAccession; expected the JSON of UniProtKB")
        rows += [_json_row(entry["primaryAccession"], feature) for feature in entry.get("features") or []]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _json_row(name: str, feature: Any) -> tuple[str, str, str, str, str]:
    try:
        location, ligand = feature["location"], feature.get("ligand") or {}
        ends = [_json_end(location[end]) for end in ("start", "end")]
        kind, note = str(feature["type"]), str(feature.get("description") or ligand.get("name") or "")
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"a feature of {name} lacks {error}; expected the JSON of UniProtKB") from error
    other = location.get("sequence")  # of an isoform
    return name, named(kind), *([UNKNOWN, UNKNOWN] if other and other != name else ends), note


def _json_end(end: dict[str, Any]) -> str:
    value, modifier = end.get("value"), end.get("modifier", "EXACT")
    return UNKNOWN if value is None or modifier == "UNKNOWN" else f"{JSON_SIGNS.get(modifier, '')}{value}"


def _entries(path: Path) -> list[tuple[str, str]]:
    """First accession and feature lines, joined, of each entry."""
    entries = []
    for entry in _content(path).decode("utf-8").split("\n//"):
        names = re.search(r"^AC\s+([^;\s]+)", entry, flags=re.MULTILINE)
        if names:
            entries.append((names[1], " ".join(re.findall(r"^FT\s+(.*)", entry, flags=re.MULTILINE))))
    return entries


def _content(path: Path) -> bytes:
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


def _parsed(texts: list[tuple[str, str]] | zip) -> pd.DataFrame:
    rows = []
    for name, text in texts:
        for key, place, qualifiers in FEATURE.findall(text):
            note, (start, _, end) = NOTE.search(qualifiers), place.partition("..")
            kind = NAMES.get(key, key.replace("_", " ").capitalize())
            note = " ".join(note[1].replace('""', '"').split()) if note else ""
            rows.append((accession(name), kind, start, end or start, note))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def placed(features: pd.DataFrame, keep_wrong: bool = False) -> pd.DataFrame:
    """Return the features whose positions are known, as numbers; the log counts the others and the fuzzy ones.

    ``keep_wrong`` keeps what is neither a position nor unknown, as NaN.
    """
    text = features[["start", "end"]].fillna("").astype(str)
    found = text.apply(lambda column: column.str.extract(f"^{POSITION.pattern}$", expand=False))
    is_known = (text != UNKNOWN).all(axis=1) if keep_wrong else found.notna().all(axis=1)
    n_fuzzy = int((found.notna() & (found != text)).any(axis=1).sum())
    if n_fuzzy:
        logger.info("%d features may begin or end elsewhere (<, > or ?); the residue that is named is taken", n_fuzzy)
    if not is_known.all():
        logger.warning("%d of %d features have no known positions and are left out", (~is_known).sum(), len(features))
    return features[is_known].assign(**found[is_known].apply(pd.to_numeric))
