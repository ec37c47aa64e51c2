"""Label concepts that single axes recover on held-out samples: SAE features beside simpler axes."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import sparse

from biosae.analysis.control_claims import RECOVERED_P, class_differences, verdict
from biosae.analysis.labels.classes import LabelColumn, is_constant_within
from biosae.analysis.labels.continuous import is_continuous
from biosae.analysis.labels.marking import class_markers
from biosae.artefacts import atomic_write
from biosae.errors import DataError
from biosae.features.feature_table import read_feature_table
from biosae.features.pool import PooledAxes
from biosae.progress import progress_bar

logger = logging.getLogger(__name__)


def compare_axes(
    axes: dict[str, PooledAxes],
    labels: pd.DataFrame,
    part: np.ndarray,
    group: pd.Series | None,
    n_permutations: int,
    seed: int,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """One row for each set of axes and label, with the same splits, nulls and code for all.

    A class counts as recovered when the axis with the best AUROC on the select samples reaches, on
    the test samples, a max-statistic p-value below 0.05 over all axes of the set. The first set is
    scored a second time with shuffled labels, and, for each other set of fewer axes, with as many
    of its axes drawn at random.

    Returns
    -------
    The columns of controls.csv, and those of control_claims.csv, in docs/formats.md.
    """
    generator = np.random.default_rng(seed)
    first, *others = axes
    compared = axes | _size_matched(first, axes[first], [axes[name] for name in others], generator)
    rows, claims = [], []
    with progress_bar("Scoring controls", len(labels.columns) * (len(compared) + 1), "sets of axes") as advance:
        for _, values in labels.items():
            within = None if group is None or np.array_equal(group, values.astype(str)) else group
            label = LabelColumn(values, part, within)
            of_label = {name: (chosen, label) for name, chosen in compared.items()}
            of_label[f"{first}, shuffled labels"] = axes[first], _shuffled(label, generator)
            markers = {}
            for name, (chosen, scored) in of_label.items():
                markers[name] = _markers(chosen, scored, n_permutations, seed)
                advance()
            if markers[first] is None:
                continue
            rows += [_row(name, of_label[name][0], label, each) for name, each in markers.items() if each is not None]
            if others:
                claims.append(class_differences(axes, markers, label, seed))
    if not rows:
        raise DataError(f"none of the labels {', '.join(labels)} can be scored; see the messages of the label scores")
    return pd.DataFrame(rows), pd.concat(claims, ignore_index=True) if claims else pd.DataFrame()


def comparable_labels(obs: pd.DataFrame, label_keys: list[str], group_key: str | None) -> pd.DataFrame:
    """The columns of classes among the labels; one that shuffling within donors cannot change is left out.

    Raises
    ------
    DataError
        If there is none.
    """
    test = obs[obs["biosae_part"] == "test"]
    kept = [key for key in label_keys if not is_continuous(obs[key])]
    for key in [key for key in kept if group_key not in (None, key)]:
        if is_constant_within(test[key], test[group_key].astype(str).to_numpy()):
            logger.warning("controls leave %s out: each %s has one value of it only", key, group_key)
            kept.remove(key)
    if not kept:
        within = f" that differ within {group_key}" if group_key else ""
        message = f"label_keys must name a column of classes{within} for the controls to recover"
        raise DataError(f"{message}, got {', '.join(label_keys) or 'none'}", argument="analysis.label_keys")
    return obs[kept]


def analyze_controls(
    features_h5ad: Path,
    controls: dict[str, PooledAxes],
    out: Path,
    label_keys: list[str],
    group_key: str | None,
    n_permutations: int,
    seed: int,
) -> pd.DataFrame:
    """Write controls.csv and control_claims.csv: the SAE's features beside each control, for every categorical label.

    Parameters
    ----------
    controls
        Name -> axes, such as ``biosae.features.control_axes.pool_axes`` gives.
    label_keys, group_key
        Columns of obs to recover, and the donor or batch within which they are shuffled.

    Raises
    ------
    DataError
        If there is no such label, or none can be scored.
    """
    table = read_feature_table(features_h5ad)
    labels = comparable_labels(table.obs, label_keys, group_key)
    group = None if group_key is None else table.obs[group_key].astype(str)
    sae = PooledAxes(sparse.csr_matrix(table.X), table.var["frequency_token"].to_numpy())
    part = table.obs["biosae_part"].astype(str).to_numpy()
    found, claims = compare_axes({"sae": sae} | controls, labels, part, group, n_permutations, seed)
    for name, written in {"controls": found, "control_claims": claims}.items():
        with atomic_write(Path(out) / f"{name}.csv") as temporary:
            written.to_csv(temporary, index=False, float_format="%.6g")
    if len(claims):
        logger.info(verdict(claims))
    return found


def _size_matched(
    name: str, axes: PooledAxes, others: list[PooledAxes], generator: np.random.Generator
) -> dict[str, PooledAxes]:
    n_axes = len(axes.frequency)
    sizes = sorted({len(other.frequency) for other in others if len(other.frequency) < n_axes})
    draw = lambda n: np.sort(generator.choice(n_axes, n, replace=False))  # noqa: E731
    return {f"{name}, {n} at random": axes.chosen(draw(n)) for n in sizes}


def _shuffled(label: LabelColumn, generator: np.random.Generator) -> LabelColumn:
    """The label shuffled within the parts of the split and the groups."""
    within = pd.Series(label.part).astype(str) + "\t" + pd.Series(label.groups).astype(str)
    values = label.values.to_numpy(dtype=object).copy()
    for rows in within.groupby(within).indices.values():
        values[rows] = generator.permutation(values[rows])
    return replace(label, values=pd.Series(values, index=label.values.index, name=label.name))


def _markers(axes: PooledAxes, label: LabelColumn, n_permutations: int, seed: int) -> pd.DataFrame | None:
    try:
        return class_markers(axes.codes, label, n_permutations, seed)
    except DataError:  # the same for all axes; label scoring itself names the reason
        return None


def _row(name: str, axes: PooledAxes, label: LabelColumn, markers: pd.DataFrame) -> dict:
    n_recovered = int((markers["p_value"] < RECOVERED_P).sum())
    expected = RECOVERED_P * int(markers["p_value"].notna().sum())
    return {
        "axes": name,
        "label": label.name,
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
