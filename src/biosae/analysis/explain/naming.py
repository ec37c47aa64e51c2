"""Names and plain sentences of features, made from their explanations and checked against their top samples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from scipy import sparse

from biosae.analysis.labels.classes import class_names, terms

UNEXPLAINED = "unexplained"
N_TOP = 10  # samples that a name must agree with: those that the page shows first
DOMINANT_SHARE = 0.5  # of the activation: a gene or family above it is what a feature reads
OF_CLASSES = ("class", "union", "class and gene")
OF_RESIDUES = {"amino acid": "on {}", "k-mer": "on the residue in brackets of {}"}
N_SAID = 3  # genes of a sentence


def named(
    chosen: pd.DataFrame, tops: np.ndarray, obs: pd.DataFrame, analyses: dict[str, pd.DataFrame], label_key: str | None
) -> pd.DataFrame:
    """Add ``name`` and ``sentence`` to explanations.

    A name of classes agrees with the ten samples of the largest pooled code: where most of them are of another class
    this class comes first ("highest in B, also in DC").

    Parameters
    ----------
    chosen
        `explain.Explanations.chosen`.
    tops
        Rows of `top_samples`, of all samples.
    obs
        Annotations of all samples.
    analyses
        Columns of scores.csv: ``genes``, ``families`` and ``expressed``, where they were scored.
    label_key
        Column with the classes that a sentence names the strongest of.
    """
    text = {key: class_names(obs[key]) for key in {*chosen["key"], label_key} & set(obs.columns)}
    names, sentences = [], []
    for feature, row in enumerate(chosen.itertuples()):
        top = tops[feature][tops[feature] >= 0]
        subject = _subject(row, text[row.key][top] if row.key in text else None)
        reads = _reads(analyses, feature)
        is_named = bool(row.is_explained)
        names.append(subject if is_named else reads or UNEXPLAINED)
        strongest = "" if label_key is None else _most_common(text[label_key][top])
        sentences.append(_sentence(row, subject, reads, _expressed(analyses, feature), strongest))
    return chosen.assign(name=names, sentence=sentences)


def top_samples(blocks: Iterable[sparse.csr_matrix]) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the samples with the largest pooled code of each feature, and these codes, both ``(d_sae, N_TOP)``.

    Equal codes come in the order of the rows; where fewer samples have a code, the rest is row -1 and code 0.

    Parameters
    ----------
    blocks
        Codes of consecutive samples, ``(n, d_sae)``.
    """
    first, best, rows = 0, None, None
    for block in blocks:
        dense = block.toarray().T
        if best is None:
            best, rows = np.zeros((len(dense), N_TOP), dense.dtype), np.full((len(dense), N_TOP), -1)
        among = np.concatenate([best, dense], axis=1)
        numbers = np.concatenate([rows, np.broadcast_to(np.arange(first, first + block.shape[0]), dense.shape)], axis=1)
        order = np.argsort(-among, axis=1, kind="stable")[:, :N_TOP]
        best = np.take_along_axis(among, order, 1)
        rows = np.where(best > 0, np.take_along_axis(numbers, order, 1), -1)
        first += block.shape[0]
    return rows, best


def joined(words: Sequence[str]) -> str:
    """``A``, ``A and B`` or ``A, B and C``."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _subject(row: tuple, top: np.ndarray | None) -> str:
    """Name of an explanation."""
    if not row.names:
        return UNEXPLAINED
    low = "low " if row.is_low else ""
    if row.kind == "family":
        return f"{low}{row.names[0]} genes"
    if row.kind == "set":
        return low + _words_of_set(row.names[0])
    if row.kind == "batch":
        return f"{row.key} {row.names[0]}"
    if row.kind == "union" and row.key == "residue":
        return f"residues {joined(row.names)}"
    if row.kind not in OF_CLASSES:
        return low + row.names[0]
    classes = row.names[:-1] if row.kind == "class and gene" else row.names
    of_classes = _agreeing(list(classes), top)
    return f"{row.names[-1]} in {of_classes}" if row.kind == "class and gene" else of_classes


def _agreeing(classes: list[str], top: np.ndarray | None) -> str:
    """Classes joined, with that of most top samples before them where it is another."""
    if top is None:  # classes of residues, not of samples
        return joined(classes)
    of_top = [terms(value) if value is not None else [] for value in top]
    n_inside = sum(any(name in classes for name in each) for each in of_top)
    if 2 * n_inside >= len(top) or not len(top):
        return joined(classes)
    counted = Counter(name for each in of_top for name in each if name not in classes)
    n_without = sum(not each for each in of_top)
    first, n = counted.most_common(1)[0] if counted else ("", 0)
    first = first if n >= n_without else "samples without a label"
    return f"highest in {first}, also in {joined(classes)}"


def _most_common(top: np.ndarray) -> str:
    """The class of more than half of the top samples, "" for none."""
    counted = Counter(value for value in top if value is not None).most_common(1)
    return counted[0][0] if counted and 2 * counted[0][1] > len(top) else ""


def _words_of_set(name: str) -> str:
    return name.removeprefix("HALLMARK_").replace("_", " ").lower() if name.isupper() else name


def _reads(analyses: dict[str, pd.DataFrame], feature: int) -> str:
    """The family or gene that carries most of the activation, "" for none."""
    genes, families = analyses.get("genes"), analyses.get("families")
    if genes is not None and genes.loc[feature, "top_share"] > DOMINANT_SHARE:
        return str(genes.loc[feature, "top_genes"]).partition(";")[0]
    if families is not None and isinstance(family := families.loc[feature, "family"], str):
        if families.loc[feature, family] > DOMINANT_SHARE:
            return f"{family} genes"
    return ""


def _expressed(analyses: dict[str, pd.DataFrame], feature: int) -> list[str]:
    genes = analyses.get("expressed")
    names = None if genes is None else genes.loc[feature, "top_genes"]
    return names.split(";")[:N_SAID] if isinstance(names, str) else []


def _sentence(row: tuple, subject: str, reads: str, expressed: list[str], strongest: str) -> str:
    """Return one sentence about a feature, with its held-out fidelity."""
    if np.isnan(row.fidelity):
        return "Fires on too few samples to be explained."
    start = f"Fires on {reads}" if reads and row.kind not in OF_RESIDUES and row.key != "residue" else "Fires"
    if not row.is_explained:
        guess = f" (best guess: {subject}, {max(row.fidelity, 0):.0%} of its held-out activity)" if row.names else ""
        return f"{f'{start}; nothing' if reads else 'Nothing'} that was tried explains where it fires{guess}."
    beside = f" (shuffled codes: {max(row.null_fidelity, 0):.0%})" if np.isfinite(row.null_fidelity) else ""
    place = _place(row, subject, [gene for gene in expressed if gene not in row.names])
    in_class = f", most strongly in {strongest}" if strongest and row.kind not in OF_CLASSES else ""
    return f"{start} {place}{in_class}; this explains {row.fidelity:.0%} of its held-out activity{beside}."


def _place(row: tuple, subject: str, expressed: list[str]) -> str:
    """Return the words that follow "Fires"."""
    bare, little = subject.removeprefix("low "), "little " if row.is_low else ""
    if row.kind in OF_RESIDUES or row.key == "residue":
        return OF_RESIDUES.get(row.kind, "on {}").format(subject)
    if row.kind in OF_CLASSES:
        where = f", where {joined(expressed)} are expressed" if len(expressed) > 1 else ""
        start = "" if subject.startswith("highest") else "with " if row.kind == "class and gene" else "most in "
        return f"{start}{subject}{where}"
    if row.kind == "gene":
        also = f" (also {joined(expressed)})" if expressed and not row.is_low else ""
        return f"where {little}{bare} is expressed{also}"
    if row.kind in ("family", "set"):
        return f"where {little}{bare}{'' if row.kind == 'family' else ' genes'} are expressed"
    if row.kind == "batch":
        return f"most in {subject}"
    return f"where {bare} is {'small' if row.is_low else 'large'}"
