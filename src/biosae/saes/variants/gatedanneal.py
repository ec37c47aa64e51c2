"""Gated-Anneal: the gated encoder with a penalty that moves from L1 towards L0 during the run."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from biosae.saes.base import SAE
from biosae.saes.codes import Codes
from biosae.saes.forward import ForwardOutput, Progress
from biosae.saes.parts import AnnealedPower, Gate, bound_first_reconstruction, gate_codes, gate_reconstruction_loss
from biosae.saes.preactivations import PreActivations
from biosae.saes.settings import Coefficient, Fraction, Power

SMOOTHING = 1e-2
"""Ten times that of P-Anneal, as a gate that is hardly open may belong to a strong code."""


class GatedAnneal(SAE):
    """Gated sparse autoencoder with an annealed power penalty (Karvonen et al. 2024, arXiv 2408.00113).

    Parameters
    ----------
    sparsity_coefficient
        Weight of the summed rectified gate while the power is 1.
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
    scaled_parameters = (*SAE.scaled_parameters, "gate.b_mag")
    base_lr = 2e-3  # a faster start under the penalty leaves features dead
    adam_beta1 = 0.7  # as in Gated

    def setup(self) -> None:
        bound_first_reconstruction(self)
        self.gate = Gate(self.d_sae)
        self.penalty = AnnealedPower(self.settings.p_end, self.settings.anneal_start_fraction, SMOOTHING)

    def select(self, pre: PreActivations) -> Codes:
        return self.gate(pre)

    def penalties(self, forward: ForwardOutput, progress: Progress) -> dict[str, Tensor]:
        codes = gate_codes(forward)
        weight = self.settings.sparsity_coefficient * progress.ramp(self.settings.sparsity_warmup_fraction)
        return {
            "power": weight * forward.batch.sum(self.penalty(forward.in_loss_unit(codes), forward.n_tokens)),
            "gate_reconstruction": gate_reconstruction_loss(codes, forward, self.W_dec, self.b_dec),
        }

    def after_step(self, forward: ForwardOutput, progress: Progress) -> None:
        self.penalty.update(forward.in_loss_unit(gate_codes(forward)), progress, forward.batch)
