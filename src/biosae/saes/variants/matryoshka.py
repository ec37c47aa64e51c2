"""Matryoshka BatchTopK: nested reconstructions, so that the first features stay general."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from biosae.saes.base import SAE
from biosae.saes.codes import Codes
from biosae.saes.forward import ForwardOutput, Progress
from biosae.saes.parts import (
    AnnealedK,
    GroupFractions,
    RunningThreshold,
    above,
    auxk_loss,
    batch_top_k,
    nested_loss,
    prefix_widths,
)
from biosae.saes.preactivations import PreActivations
from biosae.saes.settings import Coefficient, FeatureCount, Fraction


class Matryoshka(SAE):
    """Matryoshka sparse autoencoder with BatchTopK (Bussmann et al. 2025, arXiv 2503.17547).

    Parameters
    ----------
    k, auxk_coefficient, threshold_window_fraction, k_anneal_fraction
        As for BatchTopK.
    group_fractions
        Share of the features in each group, summing to 1; group ``g`` is decoded with all before it.
    """

    @dataclass(frozen=True)
    class Settings:
        k: FeatureCount
        group_fractions: GroupFractions = (0.0625, 0.125, 0.25, 0.5625)
        auxk_coefficient: Coefficient = 1 / 32
        threshold_window_fraction: Fraction = 0.02
        k_anneal_fraction: Fraction = 0.0

    settings: Settings
    scaled_parameters = (*SAE.scaled_parameters, "threshold.average")

    def setup(self) -> None:
        self.threshold = RunningThreshold()
        self.annealed_k = AnnealedK(min(self.d_in, self.d_sae), self.settings.k, self.settings.k_anneal_fraction)

    def select(self, pre: PreActivations) -> Codes:
        return above(pre, self.threshold.value)

    def select_for_training(self, pre: PreActivations) -> Codes:
        return batch_top_k(pre, self.annealed_k.value)

    def reconstruction_loss(self, forward: ForwardOutput) -> Tensor:
        widths = prefix_widths(self.settings.group_fractions, self.d_sae)
        return nested_loss(forward, widths, self.W_dec, self.b_dec)

    def penalties(self, forward: ForwardOutput, progress: Progress) -> dict[str, Tensor]:
        return {"auxk": self.settings.auxk_coefficient * auxk_loss(forward, progress.dead, self.W_dec)}

    def after_step(self, forward: ForwardOutput, progress: Progress) -> None:
        if not self.annealed_k.is_over:
            self.threshold.forget()  # the low threshold of the many-feature phase would linger
        window = self.settings.threshold_window_fraction * progress.total_steps
        self.threshold.update(forward.codes, window, forward.batch)
        self.annealed_k.update(progress)
