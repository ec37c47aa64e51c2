"""Gated: whether a feature fires and how strongly are learned apart, so that the penalty shrinks nothing."""

from __future__ import annotations

from torch import Tensor

from biosae.saes.architecture import PLAIN, Architecture
from biosae.saes.base import SAE
from biosae.saes.checks import check_at_least, check_fraction
from biosae.saes.codes import Codes
from biosae.saes.forward import ForwardOutput, Progress
from biosae.saes.parts.gate import Gate, gate_codes, gate_reconstruction_loss
from biosae.saes.parts.init import bound_first_reconstruction
from biosae.saes.parts.penalty import l1
from biosae.saes.preactivations import PreActivations


class Gated(SAE):
    """Gated sparse autoencoder (Rajamanoharan et al. 2024, arXiv 2404.16014).

    Parameters
    ----------
    l1_coefficient
        Weight of the summed rectified gate.
    sparsity_warmup_fraction
        Share of the run over which the penalty rises from 0.
    """

    scaled_parameters = (*SAE.scaled_parameters, "gate.b_mag")
    base_lr = 2e-3  # a faster start under the penalty leaves features dead
    adam_beta1 = 0.7  # 0 in the paper; 0.9, Adam's usual one, leaves features dead: docs/performance.md

    def __init__(
        self,
        d_in: int,
        d_sae: int,
        l1_coefficient: float,
        sparsity_warmup_fraction: float = 0.05,
        seed: int = 0,
        architecture: Architecture = PLAIN,
    ):
        super().__init__(d_in, d_sae, seed, architecture)
        bound_first_reconstruction(self)
        check_at_least("l1_coefficient", l1_coefficient, 0)
        check_fraction("sparsity_warmup_fraction", sparsity_warmup_fraction)
        self.l1_coefficient, self.sparsity_warmup_fraction = l1_coefficient, sparsity_warmup_fraction
        self.gate = Gate(d_sae)

    def select(self, pre: PreActivations) -> Codes:
        return self.gate(pre)

    def penalties(self, forward: ForwardOutput, progress: Progress) -> dict[str, Tensor]:
        codes = gate_codes(forward)
        weight = self.l1_coefficient * progress.ramp(self.sparsity_warmup_fraction)
        return {
            "l1": weight * forward.batch.sum(l1(forward.in_loss_unit(codes), forward.n_tokens)),
            "gate_reconstruction": gate_reconstruction_loss(codes, forward, self.W_dec, self.b_dec),
        }
