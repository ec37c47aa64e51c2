"""JumpReLU: every feature learns the threshold above which it fires."""

from __future__ import annotations

from math import inf
from statistics import NormalDist

import torch
from torch import Tensor, nn

from biosae.errors import SettingError
from biosae.ops.support import per_feature
from biosae.saes.architecture import PLAIN, Architecture
from biosae.saes.base import SAE
from biosae.saes.checks import check_above_zero, check_at_least, check_fraction
from biosae.saes.codes import Codes
from biosae.saes.forward import ForwardOutput, Progress
from biosae.saes.parts.auxk import auxk_loss
from biosae.saes.parts.l0_controller import threshold_correction
from biosae.saes.parts.straight_through import jump_relu, step
from biosae.saes.preactivations import PreActivations


class JumpReLU(SAE):
    """JumpReLU sparse autoencoder with a target sparsity (Rajamanoharan et al. 2024, arXiv 2407.14435).

    Thresholds start where a normal pre-activation leaves ``target_l0`` features active, and stay at or above 0. Under
    the ``step`` penalty all move together while a batch is far from the target: `catch_up.common_shift`.

    Parameters
    ----------
    target_l0
        Features a token should keep on average.
    sparsity_coefficient
        Weight of the penalty.
    penalty
        ``step``: ``(l0 / target_l0 - 1) ** 2``; ``tanh``: ``sum tanh(code / spread) / target_l0`` (Anthropic, Circuits
        Updates, January 2025), a smooth count without a target, whose weight decides how many features stay.
    bandwidth
        Width of the window around a threshold whose tokens teach it, in standard deviations of a
        fresh pre-activation.
    sparsity_warmup_fraction
        Share of the run over which the penalty rises from 0.
    auxk_coefficient
        Weight of the auxiliary loss that revives dead features.
    """

    scaled_parameters = (*SAE.scaled_parameters, "threshold")

    def __init__(
        self,
        d_in: int,
        d_sae: int,
        target_l0: float,
        sparsity_coefficient: float = 1.0,
        penalty: str = "step",
        bandwidth: float = 0.1,
        sparsity_warmup_fraction: float = 0.05,
        auxk_coefficient: float = 1 / 32,
        seed: int = 0,
        architecture: Architecture = PLAIN,
    ):
        super().__init__(d_in, d_sae, seed, architecture)
        check_above_zero("target_l0", target_l0, d_sae)
        check_above_zero("bandwidth", bandwidth, inf)
        check_at_least("sparsity_coefficient", sparsity_coefficient, 0)
        check_fraction("sparsity_warmup_fraction", sparsity_warmup_fraction)
        check_at_least("auxk_coefficient", auxk_coefficient, 0)
        self.target_l0, self.sparsity_coefficient, self.bandwidth = target_l0, sparsity_coefficient, bandwidth
        self.sparsity_warmup_fraction, self.penalty = sparsity_warmup_fraction, penalty
        self.auxk_coefficient = auxk_coefficient
        if penalty not in ("step", "tanh"):
            raise SettingError(f"penalty must be step or tanh, got {penalty}")
        start = NormalDist().inv_cdf(max(1 - target_l0 / d_sae, 0.5))
        self.threshold = nn.Parameter(torch.full((d_sae,), start * self.init_std))
        self.window = bandwidth * self.init_std

    def select(self, pre: PreActivations) -> Codes:
        support = pre.above(self.threshold - self.window / 2)
        threshold = per_feature(self.threshold, support)
        return Codes(jump_relu(pre.at(support), threshold, self.window), support)

    def penalties(self, forward: ForwardOutput, progress: Progress) -> dict[str, Tensor]:
        weight = self.sparsity_coefficient * progress.ramp(self.sparsity_warmup_fraction)
        name, count = ("tanh", self._smooth_count) if self.penalty == "tanh" else ("l0_target", self._off_target)
        auxk = self.auxk_coefficient * auxk_loss(forward, progress.dead, self.W_dec)
        return {name: weight * count(forward), "auxk": auxk}

    def after_step(self, forward: ForwardOutput, progress: Progress) -> None:
        if self.penalty == "step" and self.sparsity_coefficient > 0:
            self.threshold.add_(
                threshold_correction(forward, self.threshold, self.target_l0, self.window / 2, progress)
            )
        self.threshold.clamp_(min=0)

    def _smooth_count(self, forward: ForwardOutput) -> Tensor:
        total = forward.batch.sum(torch.tanh(forward.codes.values / self.init_std).sum())
        return total / forward.n_tokens / self.target_l0

    def _off_target(self, forward: ForwardOutput) -> Tensor:
        codes = forward.codes
        threshold = per_feature(self.threshold, codes.support)
        fired = step(forward.pre.at(codes.support), threshold, self.window).sum()
        l0 = forward.batch.sum(fired) / forward.n_tokens
        return (l0 / self.target_l0 - 1).square()
