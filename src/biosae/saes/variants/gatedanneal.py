"""Gated-Anneal: the gated encoder with a penalty that moves from L1 towards L0 during the run."""

from __future__ import annotations

from torch import Tensor

from biosae.saes.architecture import PLAIN, Architecture
from biosae.saes.base import SAE
from biosae.saes.checks import check_above_zero, check_at_least, check_fraction
from biosae.saes.codes import Codes
from biosae.saes.forward import ForwardOutput, Progress
from biosae.saes.parts.gate import Gate, gate_codes, gate_reconstruction_loss
from biosae.saes.parts.init import bound_first_reconstruction
from biosae.saes.parts.penalty import AnnealedPower
from biosae.saes.preactivations import PreActivations

SMOOTHING = 1e-2
"""Ten times that of P-Anneal, for a gate that is hardly open may belong to a strong code."""


class GatedAnneal(SAE):
    """Gated sparse autoencoder with an annealed power penalty (Karvonen et al. 2024, arXiv 2408.00113).

    Parameters
    ----------
    sparsity_coefficient
        Weight of the summed rectified gate, as long as the power is 1.
    p_end
        Power at the end of the run, above 0.
    anneal_start_fraction
        Share of the run after which the power begins to fall.
    sparsity_warmup_fraction
        Share of the run over which the penalty rises from 0.
    """

    scaled_parameters = (*SAE.scaled_parameters, "gate.b_mag")
    base_lr = 2e-3  # a faster start under the penalty leaves features dead
    adam_beta1 = 0.7  # as in Gated

    def __init__(
        self,
        d_in: int,
        d_sae: int,
        sparsity_coefficient: float,
        p_end: float = 0.2,
        anneal_start_fraction: float = 0.2,
        sparsity_warmup_fraction: float = 0.05,
        seed: int = 0,
        architecture: Architecture = PLAIN,
    ):
        super().__init__(d_in, d_sae, seed, architecture)
        bound_first_reconstruction(self)
        check_at_least("sparsity_coefficient", sparsity_coefficient, 0)
        check_above_zero("p_end", p_end, 1)
        check_fraction("anneal_start_fraction", anneal_start_fraction)
        check_fraction("sparsity_warmup_fraction", sparsity_warmup_fraction)
        self.sparsity_coefficient, self.p_end = sparsity_coefficient, p_end
        self.anneal_start_fraction, self.sparsity_warmup_fraction = anneal_start_fraction, sparsity_warmup_fraction
        self.gate, self.penalty = Gate(d_sae), AnnealedPower(p_end, anneal_start_fraction, SMOOTHING)

    def select(self, pre: PreActivations) -> Codes:
        return self.gate(pre)

    def penalties(self, forward: ForwardOutput, progress: Progress) -> dict[str, Tensor]:
        codes = gate_codes(forward)
        weight = self.sparsity_coefficient * progress.ramp(self.sparsity_warmup_fraction)
        return {
            "power": weight * forward.batch.sum(self.penalty(forward.in_loss_unit(codes), forward.n_tokens)),
            "gate_reconstruction": gate_reconstruction_loss(codes, forward, self.W_dec, self.b_dec),
        }

    def after_step(self, forward: ForwardOutput, progress: Progress) -> None:
        self.penalty.update(forward.in_loss_unit(gate_codes(forward)), progress, forward.batch)
