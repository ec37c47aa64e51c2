"""Gumbel-TopK: early in the run the k features are sampled, so that weak ones get to learn."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from biosae.saes.base import SAE
from biosae.saes.codes import Codes
from biosae.saes.forward import ForwardOutput, Progress
from biosae.saes.parts import auxk_loss, gumbel_top_k, top_k
from biosae.saes.preactivations import PreActivations
from biosae.saes.settings import Coefficient, FeatureCount, Fraction, StepCount, check_at_least


class GumbelTopK(SAE):
    """TopK over pre-activations with Gumbel noise that fades out (Kool et al. 2019, arXiv 1903.06059).

    The ``k`` largest noisy pre-activations are a sample without replacement. Without noise, at inference and
    late in the run, it is TopK.

    Parameters
    ----------
    k
        Features per token.
    tau_start, tau_end
        Scale of the noise at the first step and at the end of the annealing, in standard deviations of an initial
        pre-activation. It falls linearly, and the step after ``tau_end`` is plain TopK.
    anneal_fraction
        Share of the run that the annealing takes.
    anneal_steps
        Number of steps that the annealing takes, in place of ``anneal_fraction`` unless the run is shorter.
    relaxation
        Temperature, in the same unit, of the soft selection that replaces the hard one in the backward pass
        (straight-through; Xie and Ermon 2019, arXiv 1901.10517); 0 keeps the hard one.
    auxk_coefficient
        Weight of the auxiliary loss that revives dead features.
    """

    @dataclass(frozen=True)
    class Settings:
        k: FeatureCount
        tau_start: float = 0.2
        tau_end: Coefficient = 1e-8
        anneal_fraction: Fraction = 0.7
        anneal_steps: StepCount = None
        relaxation: Coefficient = 0.0
        auxk_coefficient: Coefficient = 1 / 32

        def __post_init__(self):
            check_at_least("tau_start", self.tau_start, self.tau_end)

    settings: Settings

    def setup(self) -> None:
        self.register_buffer("tau", torch.tensor(self.settings.tau_start))
        self.register_buffer("n_steps", torch.zeros((), dtype=torch.int64))

    def select(self, pre: PreActivations) -> Codes:
        return top_k(pre, self.settings.k)

    def select_for_training(self, pre: PreActivations) -> Codes:
        seed = self.seed * 1_000_003 + self.n_steps.item()
        noise, temperature = self.tau * self.init_std, self.settings.relaxation * self.init_std
        return gumbel_top_k(pre, self.settings.k, noise, seed, temperature)

    def penalties(self, forward: ForwardOutput, progress: Progress) -> dict[str, Tensor]:
        return {"auxk": self.settings.auxk_coefficient * auxk_loss(forward, progress.dead, self.W_dec)}

    def after_step(self, forward: ForwardOutput, progress: Progress) -> None:
        self.n_steps += 1
        own = self.settings
        fits = own.anneal_steps is not None and own.anneal_steps <= progress.total_steps
        n_annealed = own.anneal_steps if fits else own.anneal_fraction * progress.total_steps
        left = 1 - (progress.step + 1) / max(n_annealed, 1)
        self.tau.fill_(own.tau_end + (own.tau_start - own.tau_end) * left if left > 0 else 0.0)
