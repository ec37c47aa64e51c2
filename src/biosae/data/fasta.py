"""Proteins from a FASTA file."""

from __future__ import annotations

import gzip
import logging
import re
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from biosae.errors import DataError, SettingError

logger = logging.getLogger(__name__)

UNIPROT_HEADER = re.compile(r"(?:sp|tr)\|([^|]+)\|")
GAP = re.compile(r"[.-]")
GAPS = ("refuse", "remove")
BASES = frozenset("ACGTUNacgtun")
SHORTEST_DNA = 50
"""Letters that are all bases before they are taken for DNA: a protein of as many is one in 10^25."""

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


def read_fasta(path: Path | str, argument: str = "path", gaps: str = "refuse") -> Proteins:
    """Read the proteins of a FASTA file (``.gz`` too), named by their accession.

    The name is the first word of the header; of UniProt's ``sp|P12345|NAME`` it is the accession. A
    stop ``*`` at the end of a sequence is left out. Lines may end as on Unix, Windows (CRLF) or old Macs (CR), and a
    byte-order mark may stand in front. The log counts removed gaps and residues in lower case, which often are masked.

    Parameters
    ----------
    argument
        Argument of the caller that holds the path, for errors.
    gaps
        What to do with the ``-`` and ``.`` of an alignment: ``refuse`` or ``remove``.

    Raises
    ------
    DataError
        If the file is missing or not FASTA, holds DNA, gaps that are refused, a name twice or an empty or invalid
        sequence.
    SettingError
        If ``gaps`` is neither.
    """
    if gaps not in GAPS:
        raise SettingError(f"gaps must be {' or '.join(GAPS)}, got {gaps}", argument="gaps")
    path = Path(path).expanduser()
    records = _without_gaps(_records(_read_text(path, argument), path), path, gaps)
    repeated = [name for name, n in Counter(name for name, _ in records).items() if n > 1]
    if repeated:
        raise DataError(f"{path}: {len(repeated)} protein ids occur more than once, for example {repeated[0]}")
    for name, sequence in records:
        if not SEQUENCE.fullmatch(sequence):
            what = f"the characters {sequence[:20]!r}" if sequence else "no sequence"
            raise DataError(f"{path}: the protein {name} has {what}; expected amino acids, one letter each")
    _refuse_dna(records, path)
    _say_lower_case(records)
    return Proteins([name for name, _ in records], [sequence for _, sequence in records])


def accession(header: str) -> str:
    """Return the name of a protein in a header or key: its first word, or the accession of a UniProt one."""
    word = header.split(maxsplit=1)[0] if header.strip() else ""
    uniprot = UNIPROT_HEADER.match(word)
    return uniprot[1] if uniprot else word


def is_dna(sequences: Sequence[str]) -> bool:
    """Return whether sequences of at least `SHORTEST_DNA` letters hold nothing but bases."""
    return sum(map(len, sequences)) >= SHORTEST_DNA and all(BASES.issuperset(sequence) for sequence in sequences)


def _refuse_dna(records: list[tuple[str, str]], path: Path) -> None:
    found = [name for name, sequence in records if is_dna([sequence])]
    if not found and is_dna([sequence for _, sequence in records]):
        found = [name for name, _ in records]
    if found:
        message = f"{path}: {len(found):,} of {len(records):,} sequences are DNA or RNA, for example {found[0]}"
        raise DataError(f"{message}; expected amino acids: translate them first")


def _without_gaps(records: list[tuple[str, str]], path: Path, gaps: str) -> list[tuple[str, str]]:
    n_gaps = [len(GAP.findall(sequence)) for _, sequence in records]
    if not any(n_gaps):
        return records
    n_aligned, first = sum(n > 0 for n in n_gaps), next(name for (name, _), n in zip(records, n_gaps, strict=True) if n)
    if gaps == "refuse":
        message = f"{path}: {n_aligned:,} of {len(records):,} sequences have gaps (- or .), for example {first}"
        raise DataError(f"{message}; an alignment is read with gaps=remove, which leaves them out", argument="gaps")
    logger.info("%s gaps of %s sequences are removed", f"{sum(n_gaps):,}", f"{n_aligned:,}")
    return [(name, GAP.sub("", sequence)) for name, sequence in records]


def _say_lower_case(records: list[tuple[str, str]]) -> None:
    n_lower = [sum(map(str.islower, sequence)) for _, sequence in records]
    if any(n_lower):
        counts = f"{sum(n_lower):,}", f"{sum(n > 0 for n in n_lower):,}"
        logger.info("%s residues of %s proteins are in lower case (soft-masked?); they are read as upper case", *counts)


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
