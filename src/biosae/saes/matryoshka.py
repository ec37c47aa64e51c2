"""Matryoshka BatchTopK: the first features alone must already reconstruct, so that they stay general."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise

from torch import Tensor

from biosae.errors import SettingError

from .auxk import auxk_loss
from .base import SAE, Forward, Progress, check_at_least, check_fraction, check_k, squared_error
from .codes import Codes
from .preactivations import PreActivations
from .selection import above, batch_top_k
from .threshold import RunningThreshold


class Matryoshka(SAE):
    """Matryoshka sparse autoencoder with BatchTopK (Bussmann et al. 2025, arXiv 2503.17547).

    Parameters
    ----------
    k
        Mean number of features a token keeps.
    group_fractions
        Share of the features in each group, summing to 1; group ``g`` is decoded with all before it.
    auxk_coefficient
        Weight of the auxiliary loss that revives dead features.
    threshold_window_fraction
        Share of the run over which the inference threshold is averaged.
    """

    in_input_units = (*SAE.in_input_units, "threshold.average")

    def __init__(
        self,
        d_in: int,
        d_sae: int,
        k: int,
        group_fractions: Sequence[float],
        auxk_coefficient: float = 1 / 32,
        threshold_window_fraction: float = 0.02,
        seed: int = 0,
    ):
        super().__init__(d_in, d_sae, seed)
        check_k(k, d_sae)
        check_at_least("auxk_coefficient", auxk_coefficient, 0)
        check_fraction("threshold_window_fraction", threshold_window_fraction)
        self.k, self.auxk_coefficient = k, auxk_coefficient
        self.threshold_window_fraction, self.group_fractions = threshold_window_fraction, list(group_fractions)
        self.prefixes = prefix_widths(self.group_fractions, d_sae)
        self.threshold = RunningThreshold()

    def select(self, pre: PreActivations) -> Codes:
        return above(pre, self.threshold.value)

    def select_for_training(self, pre: PreActivations) -> Codes:
        return batch_top_k(pre, self.k)

    def reconstruction_loss(self, forward: Forward) -> Tensor:
        reconstruction, losses = self.b_dec.expand_as(forward.x), []
        for start, stop in pairwise([0, *self.prefixes]):
            reconstruction = reconstruction + forward.codes.features(start, stop).decode(self.W_dec)
            losses.append(squared_error(forward.x, reconstruction))
        return sum(losses) / len(losses)

    def penalties(self, forward: Forward, progress: Progress) -> dict[str, Tensor]:
        return {"auxk": self.auxk_coefficient * auxk_loss(forward, progress.dead, self.W_dec)}

    def after_step(self, forward: Forward, progress: Progress) -> None:
        self.threshold.update(forward.codes, self.threshold_window_fraction * progress.total_steps)


def prefix_widths(fractions: Sequence[float], d_sae: int) -> list[int]:
    """Number of features up to and with each group."""
    if not fractions or min(fractions) <= 0 or abs(sum(fractions) - 1) > 1e-6:
        raise SettingError(f"group_fractions must be positive and sum to 1, got {list(fractions)}")
    widths = [round(d_sae * share) for share in accumulate(fractions)]
    if 0 in widths or len(set(widths)) < len(widths):
        raise SettingError(f"group_fractions {list(fractions)} leave a group of d_sae={d_sae} features empty")
    return widths
