"""Settings of a sweep: every edit of a plan, the baselines beside it, and what tables say of each."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import torch

from biosae.artefacts import settings_hash
from biosae.errors import SettingError

from .context import SteeringContext
from .edits import Centre, FeatureEdit, ProjectOut, RandomDirection, Shift, TokenEdit
from .plan import Recipe, SteeringPlan
from .ranking import Rankings

logger = logging.getLogger(__name__)

IN_CODE_UNITS = ("clamp", "add")
"""Operations whose amount is a code; the others' is a factor or nothing."""

WORDS = {
    "sae": "{edit} by {chooser}",
    "random_features": "{edit} drawn at random (seed {seed})",
    "matched_features": "{edit} of matched frequency drawn at random (seed {seed})",
    "random_direction": "a random direction (seed {seed}), as far as: {edit} by {chooser}",
    "difference_in_means": "differences between the means of {target} projected out",
    "centring": "activations centred within each {target}",
}
DIFFERENCE_WORDS = {
    "sae": "add {value:g} x the difference of {n} features",
    "matched_features": "add as much to {n} features of matched frequency (seed {seed})",
    "random_direction": "as far in a random direction as {value:g} x the difference of {n} features (seed {seed})",
    "difference_in_means": "add {value:g} x the difference of mean activations",
}


class Dose(NamedTuple):
    """An operation and its value as the user gave it: in codes, active scales or differences (``unit``)."""

    operation: str | None = None
    value: float | None = None
    unit: str | None = None


@dataclass(frozen=True, eq=False)
class Setting:
    """One edit of a sweep.

    Attributes
    ----------
    method
        ``sae`` (the chosen features) or one of `biosae.steering.plan.BASELINES`.
    label
        The edit in words.
    edit
        Applied to tokens at the layer.
    feature_edit
        The edit of features that it is, or whose length it has; None for a baseline without features.
    dose
        Empty for a baseline without one.
    chooser
        A score, ``random``, ``matched``, ``list``, a file or ``difference``; None without features.
    target
        For a baseline without features: the column of obs, or in it from which value to which.
    """

    method: str
    label: str
    edit: TokenEdit
    feature_edit: FeatureEdit | None = None
    dose: Dose = Dose()
    chooser: str | None = None
    seed: int | None = None
    target: str | None = None

    @property
    def features(self) -> np.ndarray:
        """The features that are edited; none for a baseline without."""
        return np.array([], dtype=np.int64) if self.feature_edit is None else self.feature_edit.features.numpy()

    @property
    def row(self) -> dict[str, Any]:
        """The setting as steered.h5ad describes it; None where a field does not apply."""
        edit = self.feature_edit
        return {
            "method": self.method,
            "label": self.label,
            "chooser": self.chooser,
            "n_features": edit and len(edit.features),
            **self.dose._asdict(),
            "where": edit and edit.where,
            "error": edit and edit.error,
            "seed": self.seed,
            "features": edit and edit.features.tolist(),
            "amount": edit and edit.amount.tolist(),
            "target": self.target,
        }

    @property
    def identity(self) -> str:
        """A hash that changes when anything that decides the edit changes."""
        return settings_hash({name: value for name, value in self.row.items() if name not in ("label", "chooser")})


def edit_settings(context: SteeringContext, plan: SteeringPlan, rankings: Rankings) -> dict[str, Setting]:
    """Return the settings of a plan by key, ``s000``, ``s001``, ...; samples that report decide none of them.

    Raises
    ------
    BiosaeError
        If the target does not exist or has one value only, or a feature has no scale to measure in.
    """
    settings = _Builder(context, plan, rankings).settings()
    return {f"s{number:03d}": setting for number, setting in enumerate(settings)}


class _Builder:
    """Builds the settings of a plan from its rankings and from what the choosing samples say."""

    def __init__(self, context: SteeringContext, plan: SteeringPlan, rankings: Rankings):
        self._context, self._plan, self._rankings = context, plan, rankings
        self._difference = rankings.difference
        is_read = not plan.is_perturbation and plan.target is not None
        self._means = context.group_means(plan.target, "target") if is_read else None

    def settings(self) -> Iterator[Setting]:
        counts, doses = self._rankings.counts, self._plan.recipe.doses
        if self._difference is None:
            for n, value in product(counts, doses):
                yield from self._of_features(n, value)
            yield from self._of_means()
        else:
            for strength in doses:
                for n in counts:
                    yield from self._of_features(n, strength)
                yield from self._of_means_difference(strength)

    def _of_features(self, n: int, value: float) -> Iterator[Setting]:
        """Yield the edit of the first ``n`` features, and the baselines with features that stand beside it."""
        ranked, seeds, chosen = self._rankings, self._plan.seeds, None
        if ranked.chosen is not None:
            chosen = self._edit(ranked.chosen[:n], value)
            yield self._setting("sae", chosen, value)
        for seed in seeds if ranked.random else ():
            yield self._setting("random_features", self._edit(ranked.random[seed][:n], value), value, seed)
        for seed in seeds if chosen is not None else ():
            if ranked.matched:
                features = self._edit(ranked.matched[seed][:n], value, ranked.chosen[:n])
                yield self._setting("matched_features", features, value, seed)
            if "random_direction" in self._plan.baselines:
                yield self._setting("random_direction", chosen, value, seed)

    def _of_means(self) -> Iterator[Setting]:
        """Yield the baselines that edit the means of the target's groups away."""
        target, means, edits = self._plan.target, self._means, {}
        if "difference_in_means" in self._plan.baselines:
            edits["difference_in_means"] = ProjectOut(_tensor(means.grand_mean), _tensor(means.directions()))
        if "centring" in self._plan.baselines:
            self._log_unseen_groups()
            shift = np.nan_to_num(means.shift_to_common_mean())  # NaN for groups whose samples are all empty
            edits["centring"] = Centre(_tensor(shift), torch.from_numpy(means.group))
        for method, edit in edits.items():
            yield Setting(method, WORDS[method].format(target=target), edit, target=target)

    def _log_unseen_groups(self) -> None:
        means, samples = self._means, self._context.rows(*self._plan.parts)
        group = means.group[samples]
        if n_unseen := int((~means.is_known[group[group >= 0]]).sum()):
            message = "%d of %d samples belong to a %s without train or select samples;"
            logger.info(f"{message} centring uses the mean of their own", n_unseen, len(samples), means.key)

    def _of_means_difference(self, strength: float) -> Iterator[Setting]:
        """Yield the baseline that adds the difference of mean activations to every token."""
        if "difference_in_means" in self._plan.baselines:
            label = DIFFERENCE_WORDS["difference_in_means"].format(value=strength)
            edit, dose = Shift(_tensor(strength * self._difference.activation)), self._dose(strength)
            yield Setting("difference_in_means", label, edit, dose=dose, target=self._difference.between)

    def _edit(self, features: np.ndarray, value: float, like: np.ndarray | None = None) -> FeatureEdit:
        """Return the edit of some features; those of a perturbation get the amounts of the features ``like``."""
        recipe = self._plan.recipe
        if self._difference is None:
            amount = amounts(recipe, value, features, self._context.firing.active_scale)
        else:
            amount = value * self._difference.codes[features if like is None else like]
        edited = torch.from_numpy(features), recipe.operation, torch.from_numpy(amount)
        return FeatureEdit(*edited, recipe.where, recipe.error)

    def _setting(self, method: str, features: FeatureEdit, value: float, seed: int | None = None) -> Setting:
        recipe, n, edit = self._plan.recipe, len(features.features), features
        if method == "random_direction":
            edit = RandomDirection.drawn(features, self._context.sae.d_in, seed)
        words, chooser = WORDS if self._difference is None else DIFFERENCE_WORDS, self._rankings.chooser
        named = {"edit": recipe.in_words(n, value), "chooser": chooser, "n": n, "value": value, "seed": seed}
        chooser = {"random_features": "random", "matched_features": "matched"}.get(method, chooser)
        return Setting(method, words[method].format(**named), edit, features, self._dose(value), chooser, seed)

    def _dose(self, value: float) -> Dose:
        return Dose(self._plan.recipe.operation, float(value), self._plan.recipe.unit)


def amounts(recipe: Recipe, value: float, features: np.ndarray, active_scale: np.ndarray) -> np.ndarray:
    """Return the amount of each feature: the value, or the value times the feature's own scale, float64.

    Parameters
    ----------
    active_scale
        ``(d_sae,)`` mean code of each feature where it is active; NaN for one that never is.

    Raises
    ------
    SettingError
        If a feature has no scale to measure in.
    """
    if recipe.operation not in IN_CODE_UNITS or recipe.unit == "absolute" or value == 0:
        return np.full(len(features), float(value))
    scales = active_scale[features]
    if np.isnan(scales).any():
        silent = int(features[np.isnan(scales)][0])
        message = f"unit=scale needs features that fire, but feature {silent} is never active on the train and select"
        raise SettingError(f"{message} samples; leave it out or take the unit absolute", argument="steer.unit")
    return value * scales


def _tensor(values: np.ndarray) -> torch.Tensor:
    """Return float32, as activations are."""
    return torch.from_numpy(values).float()
