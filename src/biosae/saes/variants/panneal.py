"""P-Anneal: ReLU codes and a penalty that moves from L1 towards L0 during the run."""

from __future__ import annotations

from torch import Tensor

from biosae.saes.architecture import PLAIN, Architecture
from biosae.saes.base import SAE
from biosae.saes.checks import check_above_zero, check_at_least, check_fraction
from biosae.saes.codes import Codes
from biosae.saes.forward import ForwardOutput, Progress
from biosae.saes.parts.init import bound_first_reconstruction
from biosae.saes.parts.penalty import AnnealedPower
from biosae.saes.parts.selection import positive
from biosae.saes.preactivations import PreActivations


class PAnneal(SAE):
    """ReLU sparse autoencoder with an annealed power penalty (Karvonen et al. 2024, arXiv 2408.00113).

    Parameters
    ----------
    sparsity_coefficient
        Weight of the summed codes, as long as the power is 1.
    p_end
        Power at the end of the run, above 0.
    anneal_start_fraction
        Share of the run after which the power begins to fall.
    sparsity_warmup_fraction
        Share of the run over which the penalty rises from 0.
    """

    base_lr = 2e-3  # a faster start under the penalty leaves features dead
    adam_beta1 = 0.7  # as in Gated: docs/performance.md

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
        self.penalty = AnnealedPower(p_end, anneal_start_fraction)

    def select(self, pre: PreActivations) -> Codes:
        return positive(pre)

    def penalties(self, forward: ForwardOutput, progress: Progress) -> dict[str, Tensor]:
        weight = self.sparsity_coefficient * progress.ramp(self.sparsity_warmup_fraction)
        penalty = self.penalty(forward.in_loss_unit(forward.codes), forward.n_tokens)
        return {"power": weight * forward.batch.sum(penalty)}

    def after_step(self, forward: ForwardOutput, progress: Progress) -> None:
        self.penalty.update(forward.in_loss_unit(forward.codes), progress, forward.batch)
