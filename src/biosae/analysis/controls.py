"""How many label concepts single axes recover on held-out samples: SAE features beside simpler axes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from scipy import sparse

from biosae.artefacts import atomic_write
from biosae.errors import DataError
from biosae.features.pool import PooledAxes
from biosae.features.table import read_table

from .continuous import is_continuous
from .labels import label_scores

RECOVERED_P = 0.05


def compare_axes(
    axes: dict[str, PooledAxes],
    labels: pd.DataFrame,
    part: np.ndarray,
    group: np.ndarray | None,
    n_permutations: int,
    seed: int,
) -> pd.DataFrame:
    """One row for each set of axes and label, with the same splits, nulls and code for all.

    A class counts as recovered when the axis with the best AUROC on the select samples reaches, on
    the test samples, a max-statistic p-value below 0.05 over all axes of the set. The first set is
    scored a second time with shuffled labels, and, for each other set of fewer axes, with as many
    of its axes drawn at random.

    Returns
    -------
    The columns of controls.csv in docs/formats.md.
    """
    generator = np.random.default_rng(seed)
    first, *others = axes
    compared = axes | _size_matched(first, axes[first], [axes[name] for name in others], generator)
    rows = []
    for key in labels:
        group_of_key = None if group is None or np.array_equal(group, labels[key].astype(str)) else group
        arguments = (part, group_of_key, n_permutations, seed)
        rows += [_row(name, chosen, key, labels[key], *arguments) for name, chosen in compared.items()]
        shuffled = _shuffled(labels[key], part, group_of_key, generator)
        rows.append(_row(f"{first}, shuffled labels", axes[first], key, shuffled, *arguments))
    found = [row for row in rows if row is not None]
    if not found:
        raise DataError(f"none of the labels {', '.join(labels)} can be scored; see the messages of the label scores")
    return pd.DataFrame(found)


def analyze_controls(
    features_h5ad: Path,
    controls: dict[str, PooledAxes],
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
        Name -> axes, such as ``biosae.features.controls.pool_axes`` gives.
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
    sae = PooledAxes(sparse.csr_matrix(table.X), table.var["frequency_token"].to_numpy())
    part = table.obs["biosae_part"].astype(str).to_numpy()
    found = compare_axes({"sae": sae} | controls, labels, part, group, n_permutations, seed)
    with atomic_write(Path(out) / "controls.csv") as temporary:
        found.to_csv(temporary, index=False, float_format="%.6g")
    return found


def _size_matched(
    name: str, axes: PooledAxes, others: list[PooledAxes], generator: np.random.Generator
) -> dict[str, PooledAxes]:
    n_axes = len(axes.frequency)
    sizes = sorted({len(other.frequency) for other in others if len(other.frequency) < n_axes})
    draw = lambda n: np.sort(generator.choice(n_axes, n, replace=False))  # noqa: E731
    return {f"{name}, {n} at random": axes.chosen(draw(n)) for n in sizes}


def _shuffled(
    label: pd.Series, part: np.ndarray, group: np.ndarray | None, generator: np.random.Generator
) -> pd.Series:
    """The label shuffled within the parts of the split and the groups."""
    within = pd.Series(part).astype(str) + "\t" + ("" if group is None else pd.Series(group).astype(str))
    values = label.to_numpy(dtype=object).copy()
    for rows in within.groupby(within).indices.values():
        values[rows] = generator.permutation(values[rows])
    return pd.Series(values, index=label.index, name=label.name)


def _row(name: str, axes: PooledAxes, key: str, label: pd.Series, *arguments) -> dict | None:
    try:
        markers = label_scores(axes.codes, label, *arguments).markers
    except DataError:  # the same for all axes; label scoring itself names the reason
        return None
    n_recovered = int((markers["p_value"] < RECOVERED_P).sum())
    expected = RECOVERED_P * len(markers)
    return {
        "axes": name,
        "label": key,
        "n_axes": len(axes.frequency),
        "l0": axes.l0,
        "n_concepts": len(markers),
        "n_recovered": n_recovered,
        "expected_by_chance": expected,
        "excess": n_recovered - expected,
        "auroc": markers["auroc"].mean(),
        "null_auroc": markers["null_auroc"].mean(),
        "above_null": (markers["auroc"] - markers["null_auroc"]).mean(),
    }
