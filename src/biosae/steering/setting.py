"""One way of steering: everything that decides an edit, and the words for it."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import torch

from biosae.artefacts import settings_hash
from biosae.errors import SettingError

from .contrast import Contrast
from .edits import Centre, FeatureEdit, ProjectOut, RandomDirection, TokenEdit

FEATURE_METHODS = ("sae", "random_features", "matched_features")
BASELINES = ("matched_features", "random_features", "random_direction", "difference_in_means", "centring")


@dataclass(frozen=True)
class Setting:
    """An edit by its numbers.

    Attributes
    ----------
    method
        ``sae`` (the chosen features) or one of `BASELINES`.
    chooser
        What chose the features: a score, ``random``, ``list``, a file; None without features.
    features, amount
        The features, and the amount of the operation for each in the units of codes. For a random
        direction those of the edit whose length it has. None without features.
    target
        What the baselines without features edit along: a column of obs, or in it from which value to which.
    value, unit
        As the user gave it: in codes (``absolute``), in units of the feature's active scale (``scale``),
        or in units of the difference between treated and control (``difference``).
    """

    method: str
    label: str
    chooser: str | None = None
    n_features: int | None = None
    operation: str | None = None
    value: float | None = None
    unit: str | None = None
    where: str | None = None
    error: str | None = None
    seed: int | None = None
    features: tuple[int, ...] | None = None
    amount: tuple[float, ...] | None = None
    target: str | None = None

    @property
    def identity(self) -> str:
        """Changes when anything that decides the edit changes."""
        return settings_hash({name: value for name, value in asdict(self).items() if name not in ("label", "chooser")})


def edit_of(setting: Setting, contrast: Contrast | None, d_in: int) -> TokenEdit:
    """The edit of a setting; a contrast gives the directions of baselines without features."""
    if setting.method in FEATURE_METHODS:
        return _feature_edit(setting)
    if setting.method == "random_direction":
        generator = torch.Generator().manual_seed(setting.seed)
        return RandomDirection(_feature_edit(setting), random_unit(d_in, generator))
    if setting.method == "centring":
        shift = np.nan_to_num(contrast.shift_to_common_mean())  # NaN for groups whose samples are all empty
        return Centre(tensor(shift), torch.from_numpy(contrast.group))
    if setting.method == "difference_in_means":
        return ProjectOut(tensor(contrast.grand_mean), tensor(contrast.directions()))
    raise SettingError(f"steer.baselines must be some of {', '.join(BASELINES)}, got {setting.method}")


def random_unit(d_in: int, generator: torch.Generator) -> torch.Tensor:
    """``(d_in,)`` a direction drawn evenly from the sphere."""
    return torch.nn.functional.normalize(torch.randn(d_in, generator=generator), dim=0)


def _feature_edit(setting: Setting) -> FeatureEdit:
    return FeatureEdit(
        torch.tensor(setting.features),
        setting.operation,
        torch.tensor(setting.amount, dtype=torch.float32),
        setting.where,
        setting.error,
    )


def tensor(values: np.ndarray) -> torch.Tensor:
    """float32, as activations are."""
    return torch.from_numpy(values).float()
