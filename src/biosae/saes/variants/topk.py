"""TopK: every token keeps its k strongest features."""

from __future__ import annotations

from torch import Tensor

from biosae.saes.architecture import PLAIN, Architecture
from biosae.saes.base import SAE
from biosae.saes.checks import check_at_least, check_fraction, checked_k
from biosae.saes.codes import Codes
from biosae.saes.forward import ForwardOutput, Progress
from biosae.saes.parts.annealed_k import AnnealedK
from biosae.saes.parts.auxk import auxk_loss
from biosae.saes.parts.selection import top_k
from biosae.saes.preactivations import PreActivations


class TopK(SAE):
    """TopK sparse autoencoder (Gao et al. 2024, arXiv 2406.04093).

    Parameters
    ----------
    k
        Features a token keeps; fewer where fewer pre-activations are positive.
    auxk_coefficient
        Weight of the auxiliary loss that revives dead features.
    k_anneal_fraction
        Share of the run over which ``k`` falls from ``d_in`` to its value.
    """

    def __init__(
        self,
        d_in: int,
        d_sae: int,
        k: int,
        auxk_coefficient: float = 1 / 32,
        k_anneal_fraction: float = 0.0,
        seed: int = 0,
        architecture: Architecture = PLAIN,
    ):
        super().__init__(d_in, d_sae, seed, architecture)
        k = checked_k(k, d_sae)
        check_at_least("auxk_coefficient", auxk_coefficient, 0)
        check_fraction("k_anneal_fraction", k_anneal_fraction)
        self.k, self.auxk_coefficient, self.k_anneal_fraction = k, auxk_coefficient, k_anneal_fraction
        self.annealed_k = AnnealedK(min(d_in, d_sae), k, k_anneal_fraction)

    def select(self, pre: PreActivations) -> Codes:
        return top_k(pre, self.k)

    def select_for_training(self, pre: PreActivations) -> Codes:
        return top_k(pre, self.annealed_k.value)

    def penalties(self, forward: ForwardOutput, progress: Progress) -> dict[str, Tensor]:
        return {"auxk": self.auxk_coefficient * auxk_loss(forward, progress.dead, self.W_dec)}

    def after_step(self, forward: ForwardOutput, progress: Progress) -> None:
        self.annealed_k.update(progress)
