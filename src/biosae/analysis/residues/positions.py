"""Windows of residue numbers: what the position in a protein alone tells of its sites and domains."""

from __future__ import annotations

import numpy as np
from scipy import sparse

WIDTHS = (1, 3, 10, 30)  # residues
MOST_STARTS = 300  # residues from an end at which a window begins, at most


def position_windows(sample: np.ndarray) -> sparse.csr_matrix:
    """Return ``(n_residues, n_windows)`` ones where a residue lies in a window, in the order of `window_name`.

    Parameters
    ----------
    sample
        ``(n_residues,)`` row of the protein of each residue, one protein after the other.
    """
    _, first, lengths = np.unique(sample, return_index=True, return_counts=True)
    from_start = np.arange(len(sample)) - np.repeat(first, lengths)
    blocks = [
        _windows(place, width)
        for place in (from_start, np.repeat(lengths, lengths) - 1 - from_start)
        for width in WIDTHS
    ]
    return sparse.hstack(blocks, format="csr")


def window_name(number: int) -> str:
    """Return the words for a window, such as "residues 27-29 from the start" (from 1, inclusive)."""
    block, start = divmod(int(number), MOST_STARTS)
    end, width = divmod(block, len(WIDTHS))
    last = start + WIDTHS[width]
    stretch = f"residue {last}" if WIDTHS[width] == 1 else f"residues {start + 1}-{last}"
    return f"{stretch} from the {('start', 'end')[end]}"


def _windows(place: np.ndarray, width: int) -> sparse.csr_matrix:
    """Windows of one width that begin at residues 0 to `MOST_STARTS` - 1."""
    start = place[:, None] - np.arange(width)
    residue, nth = np.nonzero((start >= 0) & (start < MOST_STARTS))
    ones = np.ones(len(residue), dtype=np.float32)
    return sparse.csr_matrix((ones, (residue, start[residue, nth])), (len(place), MOST_STARTS))
