"""How many label concepts single axes recover on held-out samples: SAE features beside simpler axes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import sparse

from biosae.artefacts import atomic_write
from biosae.errors import DataError
from biosae.features.table import read_table

from .continuous import is_continuous
from .labels import LabelScores, label_scores

RECOVERED_P = 0.05


@dataclass(frozen=True, eq=False)
class Axes:
    """Pooled codes of a set of axes.

    Attributes
    ----------
    name
        ``sae``, ``neurons``, ``pca``, ...
    codes
        ``(n_samples, n_axes)`` CSR, non-negative.
    """

    name: str
    codes: sparse.csr_matrix


def compare_axes(
    axes: list[Axes], labels: pd.DataFrame, part: np.ndarray, group: np.ndarray | None, n_permutations: int, seed: int
) -> pd.DataFrame:
    """One row for each set of axes and label, with the same splits, nulls and code for all.

    A class counts as recovered when the axis with the best AUROC on the select samples reaches, on
    the test samples, a max-statistic p-value below 0.05 over all axes of the set. The first set is
    scored a second time with shuffled labels, and, for each other set of fewer axes, with as many
    of its axes drawn at random.

    Returns
    -------
    ``axes``, ``label``, ``n_axes``, ``l0`` (mean active axes of a sample), ``n_concepts``,
    ``n_recovered``, ``expected_by_chance`` (0.05 of the concepts), ``excess`` (recovered minus
    expected), ``auroc`` and ``null_auroc`` (means over the concepts), ``above_null`` (mean AUROC
    minus null).
    """
    generator = np.random.default_rng(seed)
    rows = []
    for key in labels:
        group_of_key = None if group is None or np.array_equal(group, labels[key].astype(str)) else group
        arguments = (part, group_of_key, n_permutations, seed)
        for chosen in [*axes, *_size_matched(axes, generator)]:
            rows.append(_row(chosen, key, labels[key], *arguments))
        shuffled = _shuffled(labels[key], part, group_of_key, generator)
        rows.append(_row(Axes(f"{axes[0].name}, shuffled labels", axes[0].codes), key, shuffled, *arguments))
    found = [row for row in rows if row is not None]
    if not found:
        raise DataError(f"none of the labels {', '.join(labels)} can be scored; see the messages of the label scores")
    return pd.DataFrame(found)


def analyze_controls(
    features_h5ad: Path,
    controls: dict[str, sparse.csr_matrix],
    out: Path,
    label_keys: list[str],
    group_key: str | None,
    n_permutations: int,
    seed: int,
) -> pd.DataFrame:
    """Writes controls.csv: the SAE's features beside each control, for every categorical label.

    Parameters
    ----------
    controls
        Name -> ``(n_samples, n_axes)`` pooled codes, such as ``biosae.features.controls.pooled_controls`` gives.
    label_keys, group_key
        Columns of obs to recover, and the donor or batch within which they are shuffled.

    Raises
    ------
    DataError
        If no label can be scored.
    """
    table = read_table(features_h5ad)
    labels = table.obs[[key for key in label_keys if not is_continuous(table.obs[key])]]
    group = None if group_key is None else table.obs[group_key].astype(str).to_numpy()
    axes = [Axes("sae", sparse.csr_matrix(table.X)), *(Axes(name, codes) for name, codes in controls.items())]
    part = table.obs["biosae_part"].astype(str).to_numpy()
    found = compare_axes(axes, labels, part, group, n_permutations, seed)
    with atomic_write(Path(out) / "controls.csv") as temporary:
        found.to_csv(temporary, index=False, float_format="%.6g")
    return found


def _size_matched(axes: list[Axes], generator: np.random.Generator) -> list[Axes]:
    first, others = axes[0], axes[1:]
    sizes = sorted({other.codes.shape[1] for other in others if other.codes.shape[1] < first.codes.shape[1]})
    draw = lambda n: np.sort(generator.choice(first.codes.shape[1], n, replace=False))  # noqa: E731
    return [Axes(f"{first.name}, {n} at random", first.codes[:, draw(n)]) for n in sizes]


def _shuffled(
    label: pd.Series, part: np.ndarray, group: np.ndarray | None, generator: np.random.Generator
) -> pd.Series:
    """The label shuffled within the parts of the split and the groups."""
    within = pd.Series(part).astype(str) + "\t" + ("" if group is None else pd.Series(group).astype(str))
    values = label.to_numpy(dtype=object).copy()
    for rows in within.groupby(within).indices.values():
        values[rows] = generator.permutation(values[rows])
    return pd.Series(values, index=label.index, name=label.name)


def _row(axes: Axes, key: str, label: pd.Series, *arguments) -> dict | None:
    try:
        scores: LabelScores = label_scores(axes.codes, label, *arguments)
    except DataError:  # the same for all axes; label scoring itself names the reason
        return None
    markers = scores.markers
    n_recovered = int((markers["p_value"] < RECOVERED_P).sum())
    expected = RECOVERED_P * len(markers)
    return {
        "axes": axes.name,
        "label": key,
        "n_axes": axes.codes.shape[1],
        "l0": axes.codes.nnz / axes.codes.shape[0],
        "n_concepts": len(markers),
        "n_recovered": n_recovered,
        "expected_by_chance": expected,
        "excess": n_recovered - expected,
        "auroc": markers["auroc"].mean(),
        "null_auroc": markers["null_auroc"].mean(),
        "above_null": (markers["auroc"] - markers["null_auroc"]).mean(),
    }
