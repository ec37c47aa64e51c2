"""BatchTopK: a batch keeps its k strongest codes a token on average; inference uses a threshold."""

from __future__ import annotations

from torch import Tensor

from biosae.saes.architecture import PLAIN, Architecture
from biosae.saes.base import SAE
from biosae.saes.checks import check_at_least, check_fraction, checked_k
from biosae.saes.codes import Codes
from biosae.saes.forward import ForwardOutput, Progress
from biosae.saes.parts.annealed_k import AnnealedK
from biosae.saes.parts.auxk import auxk_loss
from biosae.saes.parts.selection import above, batch_top_k
from biosae.saes.parts.threshold import RunningThreshold
from biosae.saes.preactivations import PreActivations


class BatchTopK(SAE):
    """BatchTopK sparse autoencoder (Bussmann et al. 2024, arXiv 2412.06410).

    Parameters
    ----------
    k
        Mean number of features a token keeps.
    auxk_coefficient
        Weight of the auxiliary loss that revives dead features.
    threshold_window_fraction
        Share of the run over which the inference threshold is averaged.
    k_anneal_fraction
        Share of the run over which ``k`` falls from ``d_in`` to its value.
    """

    scaled_parameters = (*SAE.scaled_parameters, "threshold.average")

    def __init__(
        self,
        d_in: int,
        d_sae: int,
        k: int,
        auxk_coefficient: float = 1 / 32,
        threshold_window_fraction: float = 0.02,
        k_anneal_fraction: float = 0.0,
        seed: int = 0,
        architecture: Architecture = PLAIN,
    ):
        super().__init__(d_in, d_sae, seed, architecture)
        k = checked_k(k, d_sae)
        check_at_least("auxk_coefficient", auxk_coefficient, 0)
        check_fraction("threshold_window_fraction", threshold_window_fraction)
        check_fraction("k_anneal_fraction", k_anneal_fraction)
        self.k, self.auxk_coefficient = k, auxk_coefficient
        self.threshold_window_fraction = threshold_window_fraction
        self.k_anneal_fraction = k_anneal_fraction
        self.threshold = RunningThreshold()
        self.annealed_k = AnnealedK(min(d_in, d_sae), k, k_anneal_fraction)

    def select(self, pre: PreActivations) -> Codes:
        return above(pre, self.threshold.value)

    def select_for_training(self, pre: PreActivations) -> Codes:
        return batch_top_k(pre, self.annealed_k.value)

    def penalties(self, forward: ForwardOutput, progress: Progress) -> dict[str, Tensor]:
        return {"auxk": self.auxk_coefficient * auxk_loss(forward, progress.dead, self.W_dec)}

    def after_step(self, forward: ForwardOutput, progress: Progress) -> None:
        if not self.annealed_k.is_over:
            self.threshold.forget()  # that of the many-feature phase would linger
        window = self.threshold_window_fraction * progress.total_steps
        self.threshold.update(forward.codes, window, forward.batch)
        self.annealed_k.update(progress)
