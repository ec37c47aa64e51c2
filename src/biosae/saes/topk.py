"""TopK: every token keeps its k strongest features."""

from __future__ import annotations

from torch import Tensor

from .auxk import auxk_loss
from .base import SAE, Forward, Progress, check_at_least, check_k
from .codes import Codes
from .preactivations import PreActivations
from .selection import top_k


class TopK(SAE):
    """TopK sparse autoencoder (Gao et al. 2024, arXiv 2406.04093).

    Parameters
    ----------
    k
        Features a token keeps; fewer where fewer pre-activations are positive.
    auxk_coefficient
        Weight of the auxiliary loss that revives dead features.
    """

    def __init__(self, d_in: int, d_sae: int, k: int, auxk_coefficient: float = 1 / 32, seed: int = 0):
        super().__init__(d_in, d_sae, seed)
        check_k(k, d_sae)
        check_at_least("auxk_coefficient", auxk_coefficient, 0)
        self.k, self.auxk_coefficient = k, auxk_coefficient

    def select(self, pre: PreActivations) -> Codes:
        return top_k(pre, self.k)

    def penalties(self, forward: Forward, progress: Progress) -> dict[str, Tensor]:
        return {"auxk": self.auxk_coefficient * auxk_loss(forward, progress.dead, self.W_dec)}
