"""Proteins from a FASTA file."""

from __future__ import annotations

import gzip
import re
import zlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from biosae.errors import DataError

UNIPROT_HEADER = re.compile(r"(?:sp|tr)\|([^|]+)\|")
ISOFORM = re.compile(r"([A-NR-Z][0-9](?:[A-Z][A-Z0-9]{2}[0-9]){1,2}|[OPQ][0-9][A-Z0-9]{3}[0-9])-\d+")
"""An accession of UniProtKB with the number of an isoform."""

SEQUENCE = re.compile(r"[A-Za-z.*-]+")


@dataclass(frozen=True)
class Proteins:
    """Names and amino-acid sequences, one letter per residue, in the order of the file."""

    ids: list[str]
    sequences: list[str]

    def chosen(self, rows: list[int]) -> Proteins:
        return Proteins([self.ids[row] for row in rows], [self.sequences[row] for row in rows])


def read_fasta(path: Path | str, argument: str = "path") -> Proteins:
    """Read the proteins of a FASTA file (``.gz`` too), named by their accession.

    The name is the first word of the header; of UniProt's ``sp|P12345|NAME`` it is the accession. A
    stop ``*`` at the end of a sequence is left out. Lines may end as on Unix, Windows (CRLF) or old Macs (CR), and a
    byte-order mark may stand in front.

    Parameters
    ----------
    argument
        Argument of the caller that holds the path, for errors.

    Raises
    ------
    DataError
        If the file is missing or not FASTA, or holds a name twice or an empty or invalid sequence.
    """
    path = Path(path).expanduser()
    records = _records(_read_text(path, argument), path)
    repeated = [name for name, n in Counter(name for name, _ in records).items() if n > 1]
    if repeated:
        raise DataError(f"{path}: {len(repeated)} protein ids occur more than once, for example {repeated[0]}")
    for name, sequence in records:
        if not SEQUENCE.fullmatch(sequence):
            what = f"the characters {sequence[:20]!r}" if sequence else "no sequence"
            raise DataError(f"{path}: the protein {name} has {what}; expected amino acids, one letter each")
    return Proteins([name for name, _ in records], [sequence for _, sequence in records])


def accession(header: str) -> str:
    """Return the name of a protein in a header or key: its first word, or the accession of a UniProt one."""
    word = header.split(maxsplit=1)[0] if header.strip() else ""
    uniprot = UNIPROT_HEADER.match(word)
    return uniprot[1] if uniprot else word


def parent_of(name: str) -> str:
    """Return the accession of an isoform's protein: ``P12345`` of ``P12345-2``; other names are their own."""
    isoform = ISOFORM.fullmatch(name)
    return isoform[1] if isoform else name


def isoform_advice(ids: list[str], match_isoforms: bool) -> str:
    """Return what to add to an error about ids that do not match: isoforms may match by their parents."""
    n_isoforms = sum(parent_of(name) != name for name in ids)
    if match_isoforms or not n_isoforms:
        return ""
    return f"; {n_isoforms:,} are isoforms, such as P12345-2: match_isoforms=true joins them to their parents"


def _records(text: str, path: Path) -> list[tuple[str, str]]:
    head, *entries = re.split(r"^>", text, flags=re.MULTILINE)
    if head.strip() or not entries:
        raise DataError(f"{path} is not a FASTA file: it must begin with '>', got {text[:20]!r}")
    records = []
    for entry in entries:
        header, _, body = entry.partition("\n")
        if not accession(header):
            raise DataError(f"{path}: a header without a name; expected '>name' above every sequence")
        records.append((accession(header), "".join(body.split()).removesuffix("*")))
    return records


def _read_text(path: Path, argument: str) -> str:
    if not path.is_file():
        message = f"{argument} {path} does not exist or is not a file; give a FASTA file"
        raise DataError(message, argument)
    try:
        content = path.read_bytes()
        text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode("utf-8-sig")
        return text.replace("\r\n", "\n").replace("\r", "\n")
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise DataError(f"{path} cannot be read as FASTA: {error}") from error
