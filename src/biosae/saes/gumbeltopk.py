"""Gumbel-TopK: early in the run the k features are drawn by chance, so that weak ones get to learn."""

from __future__ import annotations

import torch
from torch import Tensor

from .auxk import auxk_loss
from .base import SAE, Forward, Progress, check_at_least, check_fraction, check_k
from .codes import Codes
from .preactivations import PreActivations
from .selection import gumbel_top_k, top_k


class GumbelTopK(SAE):
    """TopK over pre-activations with Gumbel noise that fades out (Kool et al. 2019, arXiv 1903.06059).

    The ``k`` largest noisy pre-activations are a sample without replacement. The hard choice is
    passed on forward and a soft one, of the same temperature as the noise, backward. Without noise,
    at inference and late in the run, it is TopK.

    Parameters
    ----------
    k
        Features a token keeps.
    noise
        Scale of the noise at the start, in standard deviations of a fresh pre-activation.
    noise_end_fraction
        Share of the run after which there is no noise any more.
    auxk_coefficient
        Weight of the auxiliary loss that revives dead features.
    """

    def __init__(
        self,
        d_in: int,
        d_sae: int,
        k: int,
        noise: float = 0.2,
        noise_end_fraction: float = 0.7,
        auxk_coefficient: float = 1 / 32,
        seed: int = 0,
    ):
        super().__init__(d_in, d_sae, seed)
        check_k(k, d_sae)
        for name, value in (("noise", noise), ("auxk_coefficient", auxk_coefficient)):
            check_at_least(name, value, 0)
        check_fraction("noise_end_fraction", noise_end_fraction)
        self.k, self.auxk_coefficient = k, auxk_coefficient
        self.noise, self.noise_end_fraction = noise, noise_end_fraction
        self.register_buffer("noise_now", torch.tensor(noise * d_in**-0.5))
        self.register_buffer("n_steps", torch.zeros((), dtype=torch.int64))

    def select(self, pre: PreActivations) -> Codes:
        return top_k(pre, self.k)

    def select_for_training(self, pre: PreActivations) -> Codes:
        return gumbel_top_k(pre, self.k, self.noise_now, seed=self.seed * 1_000_003 + self.n_steps.item())

    def penalties(self, forward: Forward, progress: Progress) -> dict[str, Tensor]:
        return {"auxk": self.auxk_coefficient * auxk_loss(forward, progress.dead, self.W_dec)}

    def after_step(self, forward: Forward, progress: Progress) -> None:
        self.n_steps += 1
        self.noise_now.fill_(self.noise * self.d_in**-0.5 * (1 - progress.ramp(self.noise_end_fraction)))
