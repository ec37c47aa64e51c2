"""BatchTopK: a batch keeps its strongest codes, k per token on average; inference uses a threshold."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from biosae.saes.base import SAE
from biosae.saes.codes import Codes
from biosae.saes.forward import ForwardOutput, Progress
from biosae.saes.parts import AnnealedK, RunningThreshold, above, auxk_loss, batch_top_k
from biosae.saes.preactivations import PreActivations
from biosae.saes.settings import Coefficient, FeatureCount, Fraction


class BatchTopK(SAE):
    """BatchTopK sparse autoencoder (Bussmann et al. 2024, arXiv 2412.06410).

    Parameters
    ----------
    k
        Mean number of features per token.
    auxk_coefficient
        Weight of the auxiliary loss that revives dead features.
    threshold_window_fraction
        Share of the run over which the inference threshold is averaged.
    k_anneal_fraction
        Share of the run over which ``k`` falls from ``d_in`` to its value.
    """

    @dataclass(frozen=True)
    class Settings:
        k: FeatureCount
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

    def penalties(self, forward: ForwardOutput, progress: Progress) -> dict[str, Tensor]:
        return {"auxk": self.settings.auxk_coefficient * auxk_loss(forward, progress.dead, self.W_dec)}

    def after_step(self, forward: ForwardOutput, progress: Progress) -> None:
        if not self.annealed_k.is_over:
            self.threshold.forget()  # the low threshold of the many-feature phase would linger
        window = self.settings.threshold_window_fraction * progress.total_steps
        self.threshold.update(forward.codes, window, forward.batch)
        self.annealed_k.update(progress)
