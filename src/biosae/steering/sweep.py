"""The settings of a sweep: numbers of features x values x seeds, and the baselines that stand beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from biosae.errors import SettingError

from .activity import Activity
from .choose import matched_ranking, random_ranking
from .operations import OPERATIONS, UNITS, WHERE, amounts
from .setting import BASELINES, Setting

ERRORS = ("keep", "replace")


@dataclass(frozen=True)
class Recipe:
    """What is done to the chosen features.

    Attributes
    ----------
    operation
        ``clamp``, ``scale``, ``add`` or ``ablate``.
    values
        The dose: one setting each; not used by ``ablate``.
    unit
        ``scale`` measures clamp and add in the feature's own mean active code, ``absolute`` in codes.
    where
        ``all`` tokens or those where the feature is ``active``.
    error
        ``keep`` or ``replace`` what the SAE does not explain.
    """

    operation: str
    values: tuple[float, ...]
    unit: str
    where: str
    error: str

    def __post_init__(self):
        known = {"operation": tuple(OPERATIONS), "unit": UNITS, "where": WHERE, "error": ERRORS}
        for name, choices in known.items():
            if getattr(self, name) not in choices:
                raise SettingError(f"steer.{name} must be one of {', '.join(choices)}, got {getattr(self, name)}")
        if not self.values:
            raise SettingError("steer.values must hold at least one number")

    @property
    def doses(self) -> tuple[float, ...]:
        """The values; ablation has only one."""
        return (0.0,) if self.operation == "ablate" else self.values

    def in_words(self, n_features: int, value: float) -> str:
        """The edit as a person would say it."""
        features = f"{n_features} feature{'s' * (n_features != 1)}"
        unit = " x own scale" if self.unit == "scale" and value else ""
        words = {
            "ablate": f"ablate {features}",
            "clamp": f"clamp {features} to {value:g}{unit}",
            "add": f"add {value:g}{unit} to {features}",
            "scale": f"scale {features} by {value:g}",
        }
        where = " where active" if self.where == "active" else ""
        return words[self.operation] + where + (", SAE error dropped" if self.error == "replace" else "")


def sweep(
    ranking: np.ndarray | None,
    chooser: str,
    n_features_list: Sequence[int],
    recipe: Recipe,
    seeds: Sequence[int],
    baselines: Sequence[str],
    activity: Activity,
    target: str,
) -> list[Setting]:
    """All settings of a sweep.

    Parameters
    ----------
    ranking
        Features, the first first; None draws them at random, with each seed anew.
    target
        Column of obs that the baselines without features edit away.

    Raises
    ------
    SettingError
        If more features are asked for than the ranking has, or a baseline is unknown.
    """
    _check_counts(n_features_list, len(activity.alive) if ranking is None else len(ranking), chooser, seeds, baselines)
    settings = []
    wants_matched = ranking is not None and "matched_features" in baselines
    # Matched to the longest list, so that no seed draws a feature that a longer edit chooses.
    longest = ranking[: max(n_features_list)] if wants_matched else None
    matched = {seed: matched_ranking(longest, activity.frequency, seed) for seed in seeds if wants_matched}
    for n in n_features_list:
        for value in recipe.doses:
            if ranking is None:
                settings += _random_features(n, value, recipe, seeds, activity)
                continue
            chosen = _setting("sae", ranking[:n], value, recipe, activity)
            chosen = replace(chosen, chooser=chooser, label=f"{chosen.label} by {chooser}")
            settings.append(chosen)
            settings += _beside(chosen, matched, recipe, seeds, baselines, activity)
    if "difference_in_means" in baselines:
        words = f"differences between the means of {target} projected out"
        settings.append(Setting("difference_in_means", words, target=target))
    if "centring" in baselines:
        settings.append(Setting("centring", f"activations centred within each {target}", target=target))
    return settings


def _beside(
    chosen: Setting,
    matched: dict[int, np.ndarray],
    recipe: Recipe,
    seeds: Sequence[int],
    baselines: Sequence[str],
    activity: Activity,
) -> list[Setting]:
    """The baselines with features that stand beside one edit."""
    beside = []
    if "random_features" in baselines:
        beside += _random_features(chosen.n_features, chosen.value, recipe, seeds, activity)
    for seed in seeds:
        if seed in matched:
            features = matched[seed][: chosen.n_features]
            found = _setting("matched_features", features, chosen.value, recipe, activity)
            words = f"{found.label} of matched frequency drawn at random (seed {seed})"
            beside.append(replace(found, chooser="matched", seed=seed, label=words))
        if "random_direction" in baselines:
            words = f"a random direction (seed {seed}), as far as: {chosen.label}"
            beside.append(replace(chosen, method="random_direction", seed=seed, label=words))
    return beside


def _random_features(n: int, value: float, recipe: Recipe, seeds: Sequence[int], activity: Activity) -> list[Setting]:
    drawn = [_setting("random_features", random_ranking(activity.alive, s)[:n], value, recipe, activity) for s in seeds]
    return [
        replace(found, chooser="random", seed=seed, label=f"{found.label} drawn at random (seed {seed})")
        for found, seed in zip(drawn, seeds, strict=True)
    ]


def _setting(method: str, features: np.ndarray, value: float, recipe: Recipe, activity: Activity) -> Setting:
    amount = amounts(recipe.operation, value, recipe.unit, features, activity.active_scale)
    return Setting(
        method=method,
        label=recipe.in_words(len(features), value),
        n_features=len(features),
        operation=recipe.operation,
        value=float(value),
        unit=recipe.unit,
        where=recipe.where,
        error=recipe.error,
        features=tuple(features.tolist()),
        amount=tuple(amount.tolist()),
    )


def _check_counts(
    n_features_list: Sequence[int], n_known: int, chooser: str, seeds: Sequence[int], baselines: Sequence[str]
) -> None:
    if not n_features_list or min(n_features_list) < 1:
        raise SettingError(f"steer.n_features_list must hold numbers above 0, got {list(n_features_list)}")
    if max(n_features_list) > n_known:
        message = f"steer.n_features_list asks for {max(n_features_list)} features, but {chooser} gives {n_known}"
        raise SettingError(message)
    check_baselines(baselines, seeds)


def check_baselines(baselines: Sequence[str], seeds: Sequence[int]) -> None:
    """Raises `SettingError` for an unknown baseline, or when there is no seed."""
    unknown = set(baselines) - set(BASELINES)
    if unknown:
        raise SettingError(f"steer.baselines must be some of {', '.join(BASELINES)}, got {sorted(unknown)[0]}")
    if not seeds:
        raise SettingError("steer.seeds must hold at least one number")
