"""Gated: separate maps decide whether a feature fires and how strongly, so that the penalty shrinks no code."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from biosae.saes.base import SAE
from biosae.saes.codes import Codes
from biosae.saes.forward import ForwardOutput, Progress
from biosae.saes.parts import Gate, bound_first_reconstruction, gate_codes, gate_reconstruction_loss, l1
from biosae.saes.preactivations import PreActivations
from biosae.saes.settings import Coefficient, Fraction


class Gated(SAE):
    """Gated sparse autoencoder (Rajamanoharan et al. 2024, arXiv 2404.16014).

    Parameters
    ----------
    l1_coefficient
        Weight of the summed rectified gate.
    sparsity_warmup_fraction
        Share of the run over which the penalty rises from 0.
    """

    @dataclass(frozen=True)
    class Settings:
        l1_coefficient: Coefficient
        sparsity_warmup_fraction: Fraction = 0.05

    settings: Settings
    scaled_parameters = (*SAE.scaled_parameters, "gate.b_mag")
    base_lr = 2e-3  # a faster start under the penalty leaves features dead
    adam_beta1 = 0.7  # 0 in the paper; 0.9, Adam's usual one, leaves features dead: docs/performance.md

    def setup(self) -> None:
        bound_first_reconstruction(self)
        self.gate = Gate(self.d_sae)

    def select(self, pre: PreActivations) -> Codes:
        return self.gate(pre)

    def penalties(self, forward: ForwardOutput, progress: Progress) -> dict[str, Tensor]:
        codes = gate_codes(forward)
        weight = self.settings.l1_coefficient * progress.ramp(self.settings.sparsity_warmup_fraction)
        return {
            "l1": weight * forward.batch.sum(l1(forward.in_loss_unit(codes), forward.n_tokens)),
            "gate_reconstruction": gate_reconstruction_loss(codes, forward, self.W_dec, self.b_dec),
        }
