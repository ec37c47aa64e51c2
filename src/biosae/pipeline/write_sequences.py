"""Tables and pages of new sequences."""

from __future__ import annotations

import re
from pathlib import Path

from biosae.artefacts import atomic_write
from biosae.atlas.sequence_page import sequence_page
from biosae.data.fasta import Proteins, read_fasta
from biosae.errors import DataError
from biosae.pl import sequence_logo

from .sequences import SequenceReader, checked
from .steer_sequence import steer_sequence


def write_sequences(
    reader: SequenceReader,
    out: Path,
    path: str | Path | None = None,
    sequence: str | None = None,
    variant: str | None = None,
    clamp: tuple[str, float] | None = None,
) -> list[Path]:
    """Write a table and a page of every sequence of a FASTA file, or of one that is given.

    Parameters
    ----------
    out
        Folder of ``<name>.csv`` and ``<name>.html``; with a variant also of ``<name>.changes.csv``.
    variant
        A sequence that is compared with the only one there is.
    clamp
        A feature and the code it is set to: also writes ``<name>.steered.csv`` and the logo ``<name>.steered.svg``.

    Returns
    -------
    The pages.
    """
    given = Proteins(["sequence"], [checked(sequence)]) if path is None else read_fasta(path)
    if variant is not None and len(given.ids) > 1:
        message = f"a variant is compared with one sequence, {path} has {len(given.ids)}"
        raise DataError(message, argument="variant")
    out.mkdir(parents=True, exist_ok=True)
    pages = []
    for name, letters in zip(given.ids, given.sequences, strict=True):
        features = reader.encode(letters)
        changes = None if variant is None else reader.compare(letters, variant)
        stem = out / re.sub(r"[^\w.-]", "_", name)
        steered = None if clamp is None else steer_sequence(reader, letters, *clamp)
        tables = {"csv": features, "changes.csv": changes, "steered.csv": None if steered is None else steered.table}
        for suffix, table in tables.items():
            if table is not None:
                with atomic_write(Path(f"{stem}.{suffix}")) as temporary:
                    table.to_csv(temporary, index=False, float_format="%.6g")
        with atomic_write(Path(f"{stem}.html")) as temporary:
            temporary.write_text(sequence_page(name, letters.upper(), features, changes), encoding="utf-8")
        if steered is not None:
            with atomic_write(Path(f"{stem}.steered.svg")) as temporary:
                sequence_logo(steered.logo, first=1, show=False, save=temporary)
        pages.append(Path(f"{stem}.html"))
    return pages
