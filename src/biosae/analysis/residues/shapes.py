"""The shape of a feature along proteins: where in the chain it is on, and in stretches of which length."""

from __future__ import annotations

import numpy as np
import pandas as pd

from biosae.features.token_codes import TokenCodes

from .residue_codes import Residues, largest_on, residues_of

AMINO_ACIDS = frozenset("ACDEFGHIKLMNPQRSTVWY")
SHARE = 0.15
"""A feature is on where its code exceeds this share of its largest on the train proteins, as in InterPLM."""

MIN_PROTEINS = 3
"""Proteins with the feature that a shape needs."""

WHOLE, TERMINUS, PERIODIC = 0.8, 0.8, 0.6
"""Least shares: of a chain that is on (the median); of the on residues that lie at one terminus; of the distances
between stretches that equal the usual one within a residue."""

NEAR_TERMINUS = 0.1
"""Share of a chain that is its terminus."""

LONGEST_MOTIF = 20
KINDS = ("whole chain", "periodic", "N-terminal", "C-terminal", "point", "motif", "domain")
"""Shapes, of which a feature has the first that fits; close to the classes of InterProt (Adams et al. 2025)."""

COLUMNS = ("kind", "run_length", "coverage", "period", "periodicity", "n_terminal", "c_terminal", "n_proteins")


def is_of_residues(codes: TokenCodes) -> bool:
    """Return whether the tokens are amino acids, several per sample."""
    return set(codes.vocabulary["name"]) >= AMINO_ACIDS


def shape_scores(codes: TokenCodes, is_chosen: np.ndarray, is_train: np.ndarray) -> pd.DataFrame:
    """Return the shape of every feature on the chosen proteins.

    Parameters
    ----------
    is_chosen, is_train
        ``(n_samples,) bool``; codes count as shares of the largest on the train proteins.

    Returns
    -------
    One row per feature: ``kind`` (one of `KINDS`; missing with fewer than `MIN_PROTEINS` proteins), ``run_length``
    (median residues of a stretch that is on), ``coverage`` (median share of a chain that is on, of proteins with the
    feature), ``period`` (usual distance between the starts of stretches, in residues) and ``periodicity`` (share of the
    distances within one residue of it), ``n_terminal`` and ``c_terminal`` (share of the on residues in the first and
    in the last tenth), and ``n_proteins``.
    """
    residues = residues_of(codes, is_chosen, largest_on(codes, is_train))
    columns = residues.relative.tocsc()
    starts = np.flatnonzero(np.diff(residues.sample, prepend=-1))
    lengths = np.diff(np.append(starts, len(residues.sample)))
    first, length = np.repeat(starts, lengths), np.repeat(lengths, lengths)
    rows = []
    for feature in range(codes.d_sae):
        owned = slice(*columns.indptr[feature : feature + 2])
        on = np.sort(columns.indices[owned][columns.data[owned] > SHARE])
        rows.append(_shape(on, residues, first, length))
    return pd.DataFrame(rows, columns=list(COLUMNS)).rename_axis("feature")


def _shape(on: np.ndarray, residues: Residues, first: np.ndarray, length: np.ndarray) -> tuple:
    sample = residues.sample[on]
    owners, n_on = np.unique(sample, return_counts=True)
    if len(owners) < MIN_PROTEINS:
        return (None, *[np.nan] * 6, len(owners))
    is_start = np.diff(on, prepend=-2) != 1
    is_start |= np.diff(sample, prepend=-1) != 0
    run = np.flatnonzero(is_start)
    run_length = float(np.median(np.diff(np.append(run, len(on)))))
    each = np.flatnonzero(np.diff(sample, prepend=-1))
    coverage = float(np.median(n_on / length[on[each]]))
    period, periodicity = _period(on[run], sample[run])
    place = (on - first[on] + 0.5) / length[on]
    n_terminal, c_terminal = float((place < NEAR_TERMINUS).mean()), float((place > 1 - NEAR_TERMINUS).mean())
    fits = {
        "whole chain": coverage >= WHOLE,
        "periodic": periodicity >= PERIODIC,
        "N-terminal": n_terminal >= TERMINUS,
        "C-terminal": c_terminal >= TERMINUS,
        "point": run_length <= 1,
        "motif": run_length <= LONGEST_MOTIF,
        "domain": True,
    }
    kind = next(name for name in KINDS if fits[name])
    return kind, run_length, coverage, period, periodicity, n_terminal, c_terminal, len(owners)


def _period(starts: np.ndarray, sample: np.ndarray) -> tuple[float, float]:
    """Usual distance between the starts of successive stretches of a protein, and the share of those close to it.

    With fewer than two distances per protein on average nothing is periodic.
    """
    distances = np.diff(starts)[np.diff(sample) == 0]
    if len(distances) < 2 * len(np.unique(sample)):
        return np.nan, 0.0
    exact = np.bincount(distances, minlength=3)
    counts = np.convolve(exact, [1, 1, 1], mode="same")
    usual = int(np.lexsort((exact, counts))[-1])
    return float(usual), float(counts[usual] / len(distances))
