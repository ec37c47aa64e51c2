"""Feature edits that move one condition toward another: found on the choosing samples, feature by feature."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import anndata
import numpy as np
from scipy import sparse

from biosae.errors import SettingError

from .activity import Activity, choosing_rows
from .choose import matched_ranking
from .contrast import Contrast
from .setting import Setting

UNIT = "difference"


@dataclass(frozen=True, eq=False)
class Difference:
    """How treated samples differ from control samples, over the tokens of the choosing samples.

    Attributes
    ----------
    codes
        ``(d_sae,)`` mean code of treated minus that of control.
    activation
        ``(d_in,)`` mean activation of treated minus that of control.
    between
        From which value of which column to which.
    """

    codes: np.ndarray
    activation: np.ndarray
    between: str


def difference(table: anndata.AnnData, conditions: Contrast, control: str, treated: str) -> Difference:
    """Mean differences between two groups of a contrast.

    Raises
    ------
    SettingError
        If a group does not exist or has no choosing samples.
    """
    numbers = []
    for name, value in (("control", control), ("treated", treated)):
        if value not in conditions.groups or not conditions.is_known[conditions.groups.index(value)]:
            known = ", ".join(np.array(conditions.groups)[conditions.is_known])
            raise SettingError(f"steer.perturbation.{name} must be a value of {conditions.key} ({known}), got {value}")
        numbers.append(conditions.groups.index(value))
    means = [_mean_codes(table, conditions.group == number) for number in numbers]
    moved = conditions.mean[numbers[1]] - conditions.mean[numbers[0]]
    return Difference(means[1] - means[0], moved, f"{conditions.key}: {control} to {treated}")


def greedy_ranking(found: Difference, W_dec: np.ndarray, n: int) -> np.ndarray:
    """The features whose own differences together come closest to the difference of the activations.

    Each step adds the feature ``j`` whose move ``u codes_j W_dec_j`` takes most off the squared distance that is
    left, with one unit ``u`` for all features, the least-squares one. Fewer than ``n`` when no feature helps.
    """
    moves = found.codes[:, None] * W_dec.astype(np.float64)  # (d_sae, d_in)
    whole = moves.sum(axis=0)
    moves *= (whole @ found.activation) / max(whole @ whole, np.finfo(float).tiny)
    size, left = np.square(moves).sum(axis=1), found.activation.copy()
    gain_left = np.ones(len(moves), dtype=bool)
    chosen: list[int] = []
    while len(chosen) < n:
        gain = np.where(gain_left, 2 * moves @ left - size, -np.inf)
        best = int(gain.argmax())
        if gain[best] <= 0:
            break
        chosen.append(best)
        gain_left[best] = False
        left -= moves[best]
    return np.array(chosen, dtype=np.int64)


def toward_settings(
    ranking: np.ndarray,
    found: Difference,
    n_features_list: Sequence[int],
    strengths: Sequence[float],
    seeds: Sequence[int],
    baselines: Sequence[str],
    activity: Activity,
) -> list[Setting]:
    """Adding the differences of the first features of a ranking, at several strengths, beside baselines.

    Matched features get the same amounts; centring would be the same as the difference in means, and is left out.
    """
    counts = sorted({min(n, len(ranking)) for n in n_features_list})
    wants_matched = "matched_features" in baselines
    matched = {seed: matched_ranking(ranking, activity.frequency, seed) for seed in seeds if wants_matched}
    settings = []
    for strength in strengths:
        for n in counts:
            chosen = _adding("sae", ranking[:n], ranking[:n], found, strength)
            settings.append(chosen)
            for seed in seeds:
                if seed in matched:
                    settings.append(_adding("matched_features", matched[seed][:n], ranking[:n], found, strength, seed))
                if "random_direction" in baselines:
                    settings.append(_adding("random_direction", ranking[:n], ranking[:n], found, strength, seed))
        if "difference_in_means" in baselines:
            label = f"add {strength:g} x the difference of mean activations"
            settings.append(
                Setting("difference_in_means", label, operation="add", value=strength, unit=UNIT, target=found.between)
            )
    return settings


WORDS = {
    "sae": "add {strength:g} x the difference of {n} features",
    "matched_features": "add as much to {n} features of matched frequency (seed {seed})",
    "random_direction": "as far in a random direction as {strength:g} x the difference of {n} features (seed {seed})",
}


def _adding(
    method: str,
    features: np.ndarray,
    like: np.ndarray,
    found: Difference,
    strength: float,
    seed: int | None = None,
) -> Setting:
    return Setting(
        method=method,
        label=WORDS[method].format(strength=strength, n=len(features), seed=seed),
        chooser="matched" if method == "matched_features" else "difference",
        n_features=len(features),
        operation="add",
        value=float(strength),
        unit=UNIT,
        where="all",
        error="keep",
        seed=seed,
        features=tuple(features.tolist()),
        amount=tuple((strength * found.codes[like]).tolist()),
    )


def _mean_codes(table: anndata.AnnData, is_member: np.ndarray) -> np.ndarray:
    rows = choosing_rows(table)
    rows = rows[is_member[rows]]
    total = sparse.csr_matrix(table.layers["sum"])[rows].sum(axis=0, dtype=np.float64)
    return np.asarray(total).ravel() / table.obs["biosae_n_tokens"].to_numpy()[rows].sum()
