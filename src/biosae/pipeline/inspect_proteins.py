"""Inspection of protein files by the readers of the stages: what they find, and what they would refuse."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from biosae.data.annotations import read_annotations
from biosae.data.clusters import read_clusters
from biosae.data.copies import hashes_of_vectors
from biosae.data.fasta import Proteins, read_fasta
from biosae.data.residues import read_spans
from biosae.data.split import MIN_OF_STRATUM
from biosae.data.vectors import SUFFIXES, Vectors, find_vectors
from biosae.errors import BiosaeError
from biosae.models.esm2 import VOCABULARY
from biosae.runs.data_settings import ProteinSplit, VectorData

from .prepare import protein_labels, sequences_of
from .protein_split import Copies, copies_of, split_proteins

FASTA_SUFFIXES = (".fasta", ".fa", ".faa", ".fas")
STANDARD = frozenset("ACDEFGHIKLMNPQRSTVWY")
TRAINED_LENGTH = 1022
"""Residues of the longest crops that ESM-2 was trained on (Lin et al. 2023, supplement A.2.1)."""


@dataclass(frozen=True)
class ProteinFiles:
    """Files about the same proteins, as the settings of ``data`` name them; all but ``path`` may be missing."""

    path: Path
    sequences: str | None = None
    annotations: str | None = None
    residues: str | None = None
    groups: str | None = None
    split: ProteinSplit = field(default_factory=ProteinSplit)


@dataclass
class _Findings:
    rows: dict[str, str] = field(default_factory=dict)

    def read(self, title: str, reader: Callable[[], Any]) -> Any:
        """Return what a reader returns, and keep what it says; None where it refuses."""
        try:
            with _said() as messages:
                found = reader()
        except BiosaeError as error:
            self.rows[title] = "; ".join([*messages, f"would stop: {error}"])
            return None
        self.rows[title] = "; ".join(messages)
        return found


def is_of_proteins(path: str) -> bool:
    """Return whether a path is a FASTA file or an HDF5 file by its name."""
    return Path(path.removesuffix(".gz")).suffix.lower() in (*FASTA_SUFFIXES, *SUFFIXES)


def inspect_proteins(files: ProteinFiles) -> dict[str, str]:
    """Return findings about files of proteins: kind, ids, lengths, letters, copies, annotations, split and refusals."""
    findings = _Findings()
    is_fasta = files.path.suffix.lower() not in SUFFIXES
    source = findings.read("file", lambda: (read_fasta if is_fasta else find_vectors)(files.path))
    if source is None:
        return findings.rows
    findings.rows["file"] = "; ".join(filter(None, [_kind(source), findings.rows["file"]]))
    findings.rows["ids"] = f"{len(source.ids):,}, such as {', '.join(source.ids[:3])}"
    sequences = _sequences(source, files, findings)
    per_residue = isinstance(source, Proteins) or source.is_per_residue
    lengths = np.array([len(one) for one in sequences]) if sequences else (source.n_rows if per_residue else None)
    if lengths is not None:
        findings.rows["lengths"] = _lengths(lengths)
    if sequences:
        findings.rows["letters"] = _letters(sequences)
    copies = Copies(hashes_of_vectors(source)) if not sequences else copies_of(sequences, files.split.near_copies)
    obs = _annotated(files, source.ids, findings)
    _residues(files, source.ids, lengths if per_residue else None, findings)
    if files.groups is not None:
        clusters = findings.read("clusters", lambda: read_clusters(files.groups, source.ids))
        if clusters is not None:
            obs = obs.assign(cluster=clusters)
            sizes = pd.Series(clusters).value_counts()
            findings.rows["clusters"] = f"{len(sizes):,} clusters cover all proteins; the largest has {sizes.iloc[0]:,}"
    _split(files, obs, copies, findings)
    return findings.rows


def _kind(source: Proteins | Vectors) -> str:
    if isinstance(source, Proteins):
        n_residues = sum(map(len, source.sequences))
        return f"FASTA, {len(source.ids):,} proteins, {n_residues:,} residues"
    rows = f"{int(source.n_rows.sum()):,} residues" if source.is_per_residue else "one vector per protein"
    made_by = f"made by {source.model}" if source.model else "model not named (model= names it)"
    return f"HDF5, {len(source.ids):,} proteins, {rows}, width {source.d}, {made_by}"


def _sequences(source: Proteins | Vectors, files: ProteinFiles, findings: _Findings) -> list[str] | None:
    if isinstance(source, Proteins):
        return source.sequences
    if files.sequences is None:
        return None
    return findings.read("sequences", lambda: sequences_of(source, files.sequences))


def _lengths(lengths: np.ndarray) -> str:
    text = f"{lengths.min():,} to {lengths.max():,} residues, median {np.median(lengths):,.0f}"
    n_long = int((lengths > TRAINED_LENGTH).sum())
    if n_long:
        text += f"; {n_long:,} are longer than the {TRAINED_LENGTH:,} residues that ESM-2 was trained on"
        text += f" (read whole; max_residues={TRAINED_LENGTH} cuts them, and annotations beyond are not scorable)"
    return text


def _letters(sequences: list[str]) -> str:
    counts = Counter("".join(sequences).upper())
    other = {letter: n for letter, n in sorted(counts.items()) if letter not in STANDARD}
    if not other:
        return "the 20 amino acids"
    unknown = [letter for letter in other if letter not in VOCABULARY]
    text = "beside the 20 amino acids " + ", ".join(f"{letter} {n:,}" for letter, n in other.items())
    return text + (f"; read as X: {', '.join(unknown)}" if unknown else "")


def _annotated(files: ProteinFiles, ids: list[str], findings: _Findings) -> pd.DataFrame:
    obs = pd.DataFrame(index=ids)
    if files.annotations is None:
        return obs
    found = findings.read("annotations", lambda: read_annotations(files.annotations, None, ids))
    return obs if found is None else found.set_axis(ids)


def _residues(files: ProteinFiles, ids: list[str], lengths: np.ndarray | None, findings: _Findings) -> None:
    if files.residues is None:
        return
    if lengths is None:
        findings.rows["residues"] = "would stop: the file has one vector per protein; residues cannot be told apart"
        return
    spans = findings.read("residues", lambda: read_spans(files.residues, ids, lengths))
    if spans is not None:
        concepts = spans.drop_duplicates(["concept", "object"])["concept"].value_counts()
        most = ", ".join(f"{name} {n:,}" for name, n in concepts.head(8).items())
        findings.rows["residues"] += f"; {len(concepts):,} concepts: {most}"


def _split(files: ProteinFiles, obs: pd.DataFrame, copies: Copies, findings: _Findings) -> None:
    labels = protein_labels(VectorData(annotations=files.annotations), obs)
    settings = replace(files.split, groups=files.groups if "cluster" in obs else None)
    split = findings.read("split", lambda: split_proteins(settings, obs, labels, copies, seed=0))
    if split is None:
        return
    findings.rows["split"] = "; ".join(filter(None, [findings.rows["split"], split.sentence("proteins")]))
    part = np.asarray(split.part.astype(str))
    for label in labels:
        counts = pd.crosstab(obs[label].astype(str).to_numpy(), part).reindex(columns=["select", "test"], fill_value=0)
        small = counts.index[counts.min(axis=1) < MIN_OF_STRATUM]
        text = f"{len(counts) - len(small)} of {len(counts)} values can be scored"
        findings.rows[f"label {label}"] = text + (f"; too few of {', '.join(small[:5])}" if len(small) else "")


@contextmanager
def _said() -> Any:
    """Collect what biosae logs."""
    messages: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())
    root = logging.getLogger("biosae")
    kept, root.handlers, level = root.handlers, [handler], root.level
    root.setLevel(logging.INFO)
    try:
        yield messages
    finally:
        root.handlers = kept
        root.setLevel(level)
