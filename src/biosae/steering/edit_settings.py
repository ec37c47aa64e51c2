"""Settings of a sweep: every edit of a plan, the baselines beside it, and what tables say of each."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

from biosae.artefacts import settings_hash
from biosae.errors import SettingError

from .choosing_samples import GroupMeans, activity, difference, group_means, rows_of
from .context import SteeringContext
from .edits import Centre, FeatureEdit, ProjectOut, RandomDirection, Shift, TokenEdit
from .plan import Recipe, SteeringPlan
from .ranking import matched_ranking, random_ranking, ranked_features

logger = logging.getLogger(__name__)

ROW = (
    *("method", "label", "chooser", "n_features", "operation", "value", "unit"),
    *("where", "error", "seed", "features", "amount", "target"),
)
"""Fields of a setting in steered.h5ad."""

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
        """The values of `ROW`, None where one does not apply."""
        values = {name: getattr(self, name) for name in ("method", "label", "chooser", "seed", "target")}
        values |= self.dose._asdict()
        if (edit := self.feature_edit) is not None:
            values |= {"features": edit.features.tolist(), "amount": edit.amount.tolist()}
            values |= {"n_features": len(edit.features), "where": edit.where, "error": edit.error}
        return {name: values.get(name) for name in ROW}

    @property
    def identity(self) -> str:
        """A hash that changes when anything that decides the edit changes."""
        return settings_hash({name: value for name, value in self.row.items() if name not in ("label", "chooser")})


def edit_settings(context: SteeringContext, plan: SteeringPlan) -> dict[str, Setting]:
    """Return the settings of a plan by key, ``s000``, ``s001``, ...; samples that report decide none of them.

    Raises
    ------
    BiosaeError
        If more features are asked for than there are, or features, columns or values do not exist.
    """
    settings = _Builder(context, plan).settings()
    return {f"s{number:03d}": setting for number, setting in enumerate(settings)}


class _Builder:
    """Builds the settings of a plan from what the choosing samples say."""

    def __init__(self, context: SteeringContext, plan: SteeringPlan):
        self._context, self._plan = context, plan
        self._firing = activity(context.table)
        self._difference = difference(context.table, plan.target, *plan.between) if plan.is_perturbation else None
        self._ranking, self._chooser = ranked_features(context, plan, self._difference)
        self._counts = self._numbers_of_features()
        is_read = not plan.is_perturbation and plan.target is not None
        self._means = group_means(context.table, plan.target, "target") if is_read else None
        self._matched: dict[int, np.ndarray] = {}
        if self._ranking is not None and "matched_features" in plan.baselines:
            # Matched to the longest list, so that no seed draws a feature that a longer edit chooses.
            longest = self._ranking[: max(self._counts)]
            self._matched = {seed: matched_ranking(longest, self._firing.frequency, seed) for seed in plan.seeds}

    def settings(self) -> Iterator[Setting]:
        if self._difference is None:
            for n in self._counts:
                for value in self._plan.recipe.doses:
                    yield from self._of_features(n, value)
            yield from self._of_means()
        else:
            for strength in self._plan.recipe.doses:
                for n in self._counts:
                    yield from self._of_features(n, strength)
                yield from self._of_means_difference(strength)

    def _numbers_of_features(self) -> list[int]:
        counts, ranking = list(self._plan.n_features_list), self._ranking
        if self._plan.choice.is_given:
            counts = sorted({n for n in counts if n < len(ranking)} | {len(ranking)})
        elif self._difference is not None:
            counts = sorted({min(n, len(ranking)) for n in counts})
        n_known = len(self._firing.alive if ranking is None else ranking)
        if max(counts) > n_known:
            message = f"n_features_list asks for {max(counts)} features, but {self._chooser} gives {n_known}"
            raise SettingError(message, argument="steer.n_features_list")
        return counts

    def _of_features(self, n: int, value: float) -> Iterator[Setting]:
        """Yield the edit of the first ``n`` features, and the baselines with features that stand beside it."""
        baselines, seeds = self._plan.baselines, self._plan.seeds
        if self._ranking is None:
            yield from self._of_random_features(n, value)
            return
        chosen = self._edit(self._ranking[:n], value)
        yield self._setting("sae", chosen, value)
        if "random_features" in baselines and self._difference is None:
            yield from self._of_random_features(n, value)
        for seed in seeds:
            if seed in self._matched:
                features = self._matched[seed][:n]
                yield self._setting("matched_features", self._edit(features, value, self._ranking[:n]), value, seed)
            if "random_direction" in baselines:
                yield self._setting("random_direction", chosen, value, seed)

    def _of_random_features(self, n: int, value: float) -> Iterator[Setting]:
        for seed in self._plan.seeds:
            features = random_ranking(self._firing.alive, seed)[:n]
            yield self._setting("random_features", self._edit(features, value), value, seed)

    def _of_means(self) -> Iterator[Setting]:
        """Yield the baselines that edit the means of the target's groups away."""
        target, means, edits = self._plan.target, self._means, {}
        if "difference_in_means" in self._plan.baselines:
            edits["difference_in_means"] = ProjectOut(_tensor(means.grand_mean), _tensor(means.directions()))
        if "centring" in self._plan.baselines:
            _log_unseen_groups(means, rows_of(self._context.table, self._plan.parts))
            shift = np.nan_to_num(means.shift_to_common_mean())  # NaN for groups whose samples are all empty
            edits["centring"] = Centre(_tensor(shift), torch.from_numpy(means.group))
        for method, edit in edits.items():
            yield Setting(method, WORDS[method].format(target=target), edit, target=target)

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
            amount = amounts(recipe, value, features, self._firing.active_scale)
        else:
            amount = value * self._difference.codes[features if like is None else like]
        edited = torch.from_numpy(features), recipe.operation, torch.from_numpy(amount)
        return FeatureEdit(*edited, recipe.where, recipe.error)

    def _setting(self, method: str, features: FeatureEdit, value: float, seed: int | None = None) -> Setting:
        recipe, n, edit = self._plan.recipe, len(features.features), features
        if method == "random_direction":
            edit = RandomDirection.drawn(features, self._context.sae.d_in, seed)
        words = WORDS if self._difference is None else DIFFERENCE_WORDS
        named = {"edit": recipe.in_words(n, value), "chooser": self._chooser, "n": n, "value": value, "seed": seed}
        chooser = {"random_features": "random", "matched_features": "matched"}.get(method, self._chooser)
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


def _log_unseen_groups(means: GroupMeans, samples: np.ndarray) -> None:
    group = means.group[samples]
    n_unseen = int((~means.is_known[group[group >= 0]]).sum())
    if n_unseen:
        message = "%d of %d samples belong to a %s without train or select samples; centring uses the mean of their own"
        logger.info(message, n_unseen, len(samples), means.key)


def _tensor(values: np.ndarray) -> torch.Tensor:
    """Return float32, as activations are."""
    return torch.from_numpy(values).float()
