"""TopK: every token keeps its k strongest features."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from biosae.saes.base import SAE
from biosae.saes.codes import Codes
from biosae.saes.forward import ForwardOutput, Progress
from biosae.saes.parts import AnnealedK, auxk_loss, top_k
from biosae.saes.preactivations import PreActivations
from biosae.saes.settings import Coefficient, FeatureCount, Fraction


class TopK(SAE):
    """TopK sparse autoencoder (Gao et al. 2024, arXiv 2406.04093).

    Parameters
    ----------
    k
        Features per token; fewer where fewer pre-activations are positive.
    auxk_coefficient
        Weight of the auxiliary loss that revives dead features.
    k_anneal_fraction
        Share of the run over which ``k`` falls from ``d_in`` to its value.
    """

    @dataclass(frozen=True)
    class Settings:
        k: FeatureCount
        auxk_coefficient: Coefficient = 1 / 32
        k_anneal_fraction: Fraction = 0.0

    settings: Settings

    def setup(self) -> None:
        self.annealed_k = AnnealedK(min(self.d_in, self.d_sae), self.settings.k, self.settings.k_anneal_fraction)

    def select(self, pre: PreActivations) -> Codes:
        return top_k(pre, self.settings.k)

    def select_for_training(self, pre: PreActivations) -> Codes:
        return top_k(pre, self.annealed_k.value)

    def penalties(self, forward: ForwardOutput, progress: Progress) -> dict[str, Tensor]:
        return {"auxk": self.settings.auxk_coefficient * auxk_loss(forward, progress.dead, self.W_dec)}

    def after_step(self, forward: ForwardOutput, progress: Progress) -> None:
        self.annealed_k.update(progress)
