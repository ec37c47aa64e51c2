"""P-Anneal: ReLU codes and a penalty that moves from L1 towards L0 during the run."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from biosae.saes.base import SAE
from biosae.saes.codes import Codes
from biosae.saes.forward import ForwardOutput, Progress
from biosae.saes.parts import AnnealedPower, bound_first_reconstruction, positive
from biosae.saes.preactivations import PreActivations
from biosae.saes.settings import Coefficient, Fraction, Power


class PAnneal(SAE):
    """ReLU sparse autoencoder with an annealed power penalty (Karvonen et al. 2024, arXiv 2408.00113).

    Parameters
    ----------
    sparsity_coefficient
        Weight of the summed codes while the power is 1.
    p_end
        Power at the end of the run.
    anneal_start_fraction
        Share of the run after which the power begins to fall.
    sparsity_warmup_fraction
        Share of the run over which the penalty rises from 0.
    """

    @dataclass(frozen=True)
    class Settings:
        sparsity_coefficient: Coefficient
        p_end: Power = 0.2
        anneal_start_fraction: Fraction = 0.2
        sparsity_warmup_fraction: Fraction = 0.05

    settings: Settings
    base_lr = 2e-3  # a faster start under the penalty leaves features dead
    adam_beta1 = 0.7  # as in Gated: docs/performance.md

    def setup(self) -> None:
        bound_first_reconstruction(self)
        self.penalty = AnnealedPower(self.settings.p_end, self.settings.anneal_start_fraction)

    def select(self, pre: PreActivations) -> Codes:
        return positive(pre)

    def penalties(self, forward: ForwardOutput, progress: Progress) -> dict[str, Tensor]:
        weight = self.settings.sparsity_coefficient * progress.ramp(self.settings.sparsity_warmup_fraction)
        penalty = self.penalty(forward.in_loss_unit(forward.codes), forward.n_tokens)
        return {"power": weight * forward.batch.sum(penalty)}

    def after_step(self, forward: ForwardOutput, progress: Progress) -> None:
        self.penalty.update(forward.in_loss_unit(forward.codes), progress, forward.batch)
