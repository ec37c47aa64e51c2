"""Gumbel-TopK: early in the run the k features are drawn by chance, so that weak ones get to learn."""

from __future__ import annotations

import torch
from torch import Tensor

from biosae.saes.architecture import PLAIN, Architecture
from biosae.saes.base import SAE
from biosae.saes.checks import check_at_least, check_fraction, checked_k
from biosae.saes.codes import Codes
from biosae.saes.forward import ForwardOutput, Progress
from biosae.saes.parts.auxk import auxk_loss
from biosae.saes.parts.selection import gumbel_top_k, top_k
from biosae.saes.preactivations import PreActivations


class GumbelTopK(SAE):
    """TopK over pre-activations with Gumbel noise that fades out (Kool et al. 2019, arXiv 1903.06059).

    The ``k`` largest noisy pre-activations are a sample without replacement. Without noise, at inference and
    late in the run, it is TopK.

    Parameters
    ----------
    k
        Features a token keeps.
    tau_start, tau_end
        Scale of the noise at the first step and at the end of the annealing, in standard deviations of a fresh
        pre-activation. It falls linearly, and the step after ``tau_end`` is plain TopK.
    anneal_fraction
        Share of the run that the annealing takes.
    anneal_steps
        The same as a number of steps; takes the place of ``anneal_fraction`` when given.
    relaxation
        Temperature, in the same unit, of the soft choice that is passed on backward in place of the hard one
        (straight-through; Xie and Ermon 2019, arXiv 1901.10517); 0 passes the hard one.
    auxk_coefficient
        Weight of the auxiliary loss that revives dead features.
    """

    def __init__(
        self,
        d_in: int,
        d_sae: int,
        k: int,
        tau_start: float = 0.2,
        tau_end: float = 1e-8,
        anneal_fraction: float = 0.7,
        anneal_steps: int | None = None,
        relaxation: float = 0.0,
        auxk_coefficient: float = 1 / 32,
        seed: int = 0,
        architecture: Architecture = PLAIN,
    ):
        super().__init__(d_in, d_sae, seed, architecture)
        k = checked_k(k, d_sae)
        check_at_least("auxk_coefficient", auxk_coefficient, 0)
        check_at_least("tau_end", tau_end, 0)
        check_at_least("tau_start", tau_start, tau_end)
        check_fraction("anneal_fraction", anneal_fraction)
        if anneal_steps is not None:
            check_at_least("anneal_steps", anneal_steps, 0)
        check_at_least("relaxation", relaxation, 0)
        self.k, self.auxk_coefficient, self.relaxation = k, auxk_coefficient, relaxation
        self.tau_start, self.tau_end = tau_start, tau_end
        self.anneal_fraction, self.anneal_steps = anneal_fraction, anneal_steps
        self.register_buffer("tau", torch.tensor(tau_start))
        self.register_buffer("n_steps", torch.zeros((), dtype=torch.int64))

    def select(self, pre: PreActivations) -> Codes:
        return top_k(pre, self.k)

    def select_for_training(self, pre: PreActivations) -> Codes:
        seed = self.seed * 1_000_003 + self.n_steps.item()
        noise, temperature = self.tau * self.init_std, self.relaxation * self.init_std
        return gumbel_top_k(pre, self.k, noise, seed, temperature)

    def penalties(self, forward: ForwardOutput, progress: Progress) -> dict[str, Tensor]:
        return {"auxk": self.auxk_coefficient * auxk_loss(forward, progress.dead, self.W_dec)}

    def after_step(self, forward: ForwardOutput, progress: Progress) -> None:
        self.n_steps += 1
        n_annealed = self.anneal_fraction * progress.total_steps if self.anneal_steps is None else self.anneal_steps
        left = 1 - (progress.step + 1) / max(n_annealed, 1)
        self.tau.fill_(self.tau_end + (self.tau_start - self.tau_end) * left if left > 0 else 0.0)
