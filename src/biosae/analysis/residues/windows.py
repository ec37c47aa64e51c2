"""Windows of residues around the strongest codes of a feature, aligned, and how conserved each place is."""

from __future__ import annotations

import numpy as np
import pandas as pd

from biosae.features.token_codes import TokenCodes

from .shapes import AMINO_ACIDS

LETTERS = "".join(sorted(AMINO_ACIDS))
GAP = "-"
WIDTH, MOST = 15, 50


def top_windows(codes: TokenCodes, feature: int, width: int = WIDTH, most: int = MOST) -> list[str]:
    """Return the residues around the largest code of a feature in the proteins where it is strongest.

    Parameters
    ----------
    width
        Residues of a window, odd; beyond the ends of a protein it holds ``-``.
    most
        Proteins.

    Returns
    -------
    Windows of ``width`` letters, the strongest protein first, the residue with the largest code in the middle.
    """
    name = codes.vocabulary.set_index("token")["name"]
    letters = name.where(name.str.len() == 1, "X")
    found = []
    for shard in codes.shards():
        owned = slice(*shard.feature_offsets[feature : feature + 2])
        rows, code = shard.row[owned].astype(np.int64), shard.code[owned]
        table = pd.DataFrame({"row": rows, "code": code, "sample": shard.sample[rows]})
        best = table.sort_values("code", ascending=False, kind="stable").drop_duplicates("sample").head(most)
        for row, strength in zip(best["row"], best["code"], strict=True):
            near = np.arange(row - width // 2, row + width // 2 + 1)
            inside = (near >= 0) & (near < shard.n_tokens)
            inside[inside] = shard.sample[near[inside]] == shard.sample[row]
            text = np.full(width, GAP, dtype=object)
            text[inside] = letters.reindex(shard.token[near[inside]]).fillna("X")
            found.append((float(strength), "".join(text)))
    return [window for _, window in sorted(found, key=lambda pair: -pair[0])[:most]]


def information(windows: list[str]) -> pd.DataFrame:
    """Return the height of every letter at every place of a sequence logo, in bits, ``(width, 20)``.

    The height of a place is ``log2(20) - H - e``, with the entropy of its letters and the correction for few
    sequences, ``e = 19 / (2 n ln 2)`` (Schneider and Stephens 1990), never below 0; each letter has its share of it.
    Places beyond the ends of a protein, and letters that are none of the 20, do not count.
    """
    counts = pd.DataFrame(
        [[sum(window[at] == letter for window in windows) for letter in LETTERS] for at in range(len(windows[0]))],
        columns=list(LETTERS),
    )
    n = counts.sum(axis=1).to_numpy()[:, None]
    share = counts.to_numpy() / np.maximum(n, 1)
    entropy = -(share * np.log2(np.where(share > 0, share, 1))).sum(axis=1, keepdims=True)
    height = np.log2(20) - entropy - 19 / (2 * np.maximum(n, 1) * np.log(2))
    return pd.DataFrame(share * np.maximum(height, 0), columns=counts.columns)
