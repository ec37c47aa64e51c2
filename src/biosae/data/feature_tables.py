"""UniProt's feature tables: stretches of residues with a type and a note, in the formats that it offers.

Read are GFF files, entries as text (``FT`` lines) and those columns of a TSV download that hold features.
"""

from __future__ import annotations

import gzip
import logging
import re
import zlib
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote

import pandas as pd

from biosae.errors import DataError

from .fasta import accession

logger = logging.getLogger(__name__)

COLUMNS = ("id", "type", "start", "end", "note")
GFF_SUFFIXES, TEXT_SUFFIXES = (".gff", ".gff3"), (".txt", ".dat")
TEXT_BEGINS = b"ID   "
GFF_COLUMNS = ("id", "source", "type", "start", "end", "score", "strand", "phase", "attributes")
TEXT_ONLY = {"dtype": object, "keep_default_na": False, "na_values": [""], "encoding": "utf-8-sig"}
"""Options of `pandas.read_csv` that leave every word as it stands: only an empty cell is missing."""

FEATURE = re.compile(r'([A-Z][A-Z_]+)\s+([^\s;]+)((?:[\s;]*/\w+="(?:[^"]|"")*")*)')  # key, place, qualifiers
NOTE = re.compile(r'/(?:note|ligand)="((?:[^"]|"")*)"')
PLACE = re.compile(r"(\d+)(?:\.\.(\d+))?")
# fmt: off
NAMES = {
    "ACT_SITE": "Active site", "BINDING": "Binding site", "CARBOHYD": "Glycosylation", "COILED": "Coiled coil",
    "COMPBIAS": "Compositional bias", "CONFLICT": "Sequence conflict", "CROSSLNK": "Cross-link",
    "DISULFID": "Disulfide bond", "DNA_BIND": "DNA binding", "INTRAMEM": "Intramembrane", "LIPID": "Lipidation",
    "MOD_RES": "Modified residue", "MUTAGEN": "Mutagenesis", "NON_CONS": "Non-adjacent residues",
    "NON_STD": "Non-standard residue", "NON_TER": "Non-terminal residue", "PROPEP": "Propeptide",
    "SIGNAL": "Signal peptide", "STRAND": "Beta strand", "TOPO_DOM": "Topological domain",
    "TRANSIT": "Transit peptide", "TRANSMEM": "Transmembrane", "UNSURE": "Sequence uncertainty",
    "VARIANT": "Natural variant", "VAR_SEQ": "Alternative sequence", "ZN_FING": "Zinc finger",
}
"""Names in GFF of the keys of the text format."""

PLAIN = {"CHAIN", "DOMAIN", "HELIX", "INIT_MET", "MOTIF", "PEPTIDE", "REGION", "REPEAT", "SITE", "TURN"}
"""Keys whose case alone differs."""
# fmt: on


def is_feature_file(path: Path) -> bool:
    """Return whether a file is a feature table only; a table of another kind may be called ``.txt`` too."""
    name = path.name.removesuffix(".gz")
    if name.endswith(TEXT_SUFFIXES):
        with suppress(OSError, EOFError, zlib.error):  # its reader raises the error
            return _content(path).startswith(TEXT_BEGINS)
    return name.endswith(GFF_SUFFIXES)


def feature_columns(table: pd.DataFrame) -> list[str]:
    """The columns of a UniProt TSV that hold features, such as ``DOMAIN 20..60; /note="SH2"``."""
    return [name for name in table if _holds_features(table[name].dropna())]


def _holds_features(values: pd.Series) -> bool:
    firsts = (FEATURE.match(str(value)) for value in values)
    return len(values) > 0 and all(first and (first[1] in NAMES or first[1] in PLAIN) for first in firsts)


def read_features(path: Path, argument: str) -> pd.DataFrame:
    """Read the features of a GFF file or of entries as text (``.gz`` too): `COLUMNS`, positions from 1, inclusive.

    Features without known positions (``<1..20``, ``?``) are left out, with a warning.

    Raises
    ------
    DataError
        If the file cannot be read or holds no feature.
    """
    try:
        is_gff = path.name.removesuffix(".gz").endswith(GFF_SUFFIXES)
        found = _read_gff(path) if is_gff else _parsed(_entries(path))
    except FileNotFoundError:
        raise DataError(f"{argument}: {path} does not exist", argument) from None
    except (OSError, EOFError, ValueError, zlib.error) as error:
        message = f"{argument}: {path} cannot be read: {' '.join(str(error).split())}"
        raise DataError(message, argument) from error
    if found.empty:
        message = f"{argument}: {path} holds no feature; expected GFF, or the FT lines of UniProt entries"
        raise DataError(message, argument)
    return _placed(found)


def features_in(table: pd.DataFrame) -> pd.DataFrame:
    """The features in a UniProt TSV, whose first column names the proteins."""
    texts = table[feature_columns(table)].fillna("").agg("; ".join, axis=1)
    return _placed(_parsed(zip(table.iloc[:, 0].fillna(""), texts, strict=True)))


def terms_of(features: pd.DataFrame) -> pd.Series:
    """Return the terms of each protein, separated by ``;``: the ``type`` of its features, and ``type: note``."""
    named = with_notes(features).drop_duplicates(["id", "type"])
    return named["type"].str.replace(";", ",").groupby(named["id"], sort=False).agg("; ".join)


def with_notes(features: pd.DataFrame) -> pd.DataFrame:
    """Features, and those with a note once more under ``type: note``."""
    noted = features[features["note"] != ""]
    return pd.concat([features, noted.assign(type=noted["type"] + ": " + noted["note"])], ignore_index=True)


def _read_gff(path: Path) -> pd.DataFrame:
    table = pd.read_csv(path, sep="\t", comment="#", header=None, names=GFF_COLUMNS, **TEXT_ONLY)
    note = table["attributes"].fillna("").str.extract(r"(?:^|;)Note=([^;]*)", expand=False).fillna("").map(unquote)
    return table.assign(note=note, id=table["id"].fillna("").map(accession))[list(COLUMNS)]


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
            note, at = NOTE.search(qualifiers), PLACE.fullmatch(place)
            start, end = (at[1], at[2] or at[1]) if at else (None, None)
            kind = NAMES.get(key, key.replace("_", " ").capitalize())
            rows.append((accession(name), kind, start, end, note[1].replace('""', '"') if note else ""))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _placed(features: pd.DataFrame) -> pd.DataFrame:
    """Return the features whose positions are numbers."""
    features = features.assign(**{name: pd.to_numeric(features[name], errors="coerce") for name in ("start", "end")})
    known = features[["start", "end"]].notna().all(axis=1)
    if not known.all():
        logger.warning("%d of %d features have no known positions and are left out", (~known).sum(), len(known))
    return features[known].astype({"start": int, "end": int})
