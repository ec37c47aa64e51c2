"""Plan of a sweep: which features are edited, how and by how much, and beside which baselines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from biosae.errors import DataError, SettingError
from biosae.saes.code_edits import OPERATIONS

from .edits import ERRORS, WHERE

BASELINES = ("matched_features", "random_features", "random_direction", "difference_in_means", "centring")
NEED_TARGET = ("difference_in_means", "centring")
CHOOSERS = ("score", "random", "list", "file")
UNITS = ("scale", "absolute")
DIFFERENCE = "difference"
"""Chooser and unit of a perturbation: features by their share of a difference, added in units of it."""


@dataclass(frozen=True)
class FeatureChoice:
    """Features ``by`` a ``score``, at ``random``, from a ``list`` or from a ``file``, or by a ``difference``.

    Attributes
    ----------
    score
        ``analysis/metric`` of scores.csv; None takes ``label:<target>/ami``.
    """

    by: str
    score: str | None = None
    descending: bool = True
    features: tuple[int, ...] = ()
    file: str | None = None

    def __post_init__(self):
        if self.by not in (*CHOOSERS, DIFFERENCE):
            raise SettingError(f"by must be score, random, list or file, got {self.by}", argument="steer.by")

    @property
    def is_given(self) -> bool:
        """True when the user names the features; all of them are then edited too, whatever the numbers asked for."""
        return self.by in ("list", "file")


@dataclass(frozen=True)
class Recipe:
    """The edit of the chosen features.

    Attributes
    ----------
    operation
        ``clamp``, ``scale``, ``add`` or ``ablate``.
    values
        One setting each; not used by ``ablate``.
    unit
        ``scale`` measures clamp and add in the feature's own mean active code, ``absolute`` in codes, ``difference``
        in the feature's difference between two conditions.
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
        _check_choice("operation", self.operation, tuple(OPERATIONS))
        if self.unit != DIFFERENCE:
            _check_choice("unit", self.unit, UNITS)
        _check_choice("where", self.where, WHERE)
        _check_choice("error", self.error, ERRORS)
        if not self.values:
            raise SettingError("values must hold at least one number", argument="steer.values")

    @property
    def doses(self) -> tuple[float, ...]:
        """The values; ablation has only one."""
        return (0.0,) if self.operation == "ablate" else self.values

    def in_words(self, n_features: int, value: float) -> str:
        """Describe the edit."""
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


@dataclass(frozen=True)
class SteeringPlan:
    """A sweep: numbers of features x values x seeds, beside baselines.

    Attributes
    ----------
    n_features_list
        Numbers of features to edit, each the first of one ranking.
    seeds
        Of what is drawn at random: features, directions.
    baselines
        Some of `BASELINES`.
    target
        Column of obs that steering should bring together; None takes the label of the score, or the batch.
    parts
        Parts of the split to embed; effects are read on ``test``.
    off_target_samples
        Test samples on which other features are read.
    seed
        Of the resamples behind intervals, and of the samples of ``off_target_samples``.
    between
        Two values of ``target``, control and treated, in a perturbation (`toward`); None in other sweeps.
    """

    choice: FeatureChoice
    recipe: Recipe
    n_features_list: tuple[int, ...]
    seeds: tuple[int, ...]
    baselines: tuple[str, ...]
    target: str | None
    parts: tuple[str, ...]
    off_target_samples: int
    seed: int
    between: tuple[str, str] | None = None

    def __post_init__(self):
        for name in self.baselines:
            if name not in BASELINES:
                message = f"baselines must be some of {', '.join(BASELINES)}, got {name}"
                raise SettingError(message, argument="steer.baselines")
        if not self.seeds:
            raise SettingError("seeds must hold at least one number", argument="steer.seeds")
        if min(self.n_features_list, default=self.choice.is_given) < 1:
            message = f"n_features_list must hold numbers above 0, got {list(self.n_features_list)}"
            raise SettingError(message, argument="steer.n_features_list")
        if "test" not in self.parts:
            message = f"parts must include test, where effects are read, got {', '.join(self.parts)}"
            raise SettingError(message, argument="steer.parts")

    @property
    def is_perturbation(self) -> bool:
        return self.between is not None

    def toward(self, key: str, control: str, treated: str, strengths: Sequence[float]) -> SteeringPlan:
        """Return the plan that steers control samples toward treated ones.

        The perturbation is a sweep whose features are chosen by the difference of the two conditions, and whose doses
        are strengths in units of it. Strengths are compared on select, effects reported on test.

        Parameters
        ----------
        key
            Column of obs with both values.
        """
        recipe = Recipe("add", tuple(strengths), DIFFERENCE, where="all", error="keep")
        return replace(
            self,
            choice=FeatureChoice(DIFFERENCE),
            recipe=recipe,
            target=key,
            parts=("select", "test"),
            between=(control, treated),
        )


def target_of(plan: SteeringPlan, batch_key: str | None) -> str | None:
    """Return the column that steering should bring together.

    Raises
    ------
    DataError
        If a target is needed and neither the plan, its score nor the samples' batch names one.
    """
    if plan.target is not None:
        return plan.target
    score = plan.choice.score
    if plan.choice.by == "score" and score is not None and score.startswith("label:"):
        return score.removeprefix("label:").rpartition("/")[0]
    if batch_key is None and (plan.choice.by == "score" or set(NEED_TARGET) & set(plan.baselines)):
        message = "the run has no donor or batch column to steer by; name a column as target"
        raise DataError(f"{message}, or choose by a label: score=label:cell_type/auroc", argument="steer.target")
    return batch_key


def _check_choice(name: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise SettingError(f"{name} must be one of {', '.join(known)}, got {value}", argument=f"steer.{name}")
