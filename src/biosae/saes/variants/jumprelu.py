"""JumpReLU: every feature learns the threshold above which it fires."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import torch
from torch import Tensor, nn

from biosae.ops.support import per_feature
from biosae.saes.base import SAE
from biosae.saes.codes import Codes
from biosae.saes.forward import ForwardOutput, Progress
from biosae.saes.parts import auxk_loss, jump_relu, step, threshold_correction
from biosae.saes.preactivations import PreActivations
from biosae.saes.settings import Coefficient, Fraction, MeanFeatureCount, Width


class JumpReLU(SAE):
    """JumpReLU sparse autoencoder with a target sparsity (Rajamanoharan et al. 2024, arXiv 2407.14435).

    Initial thresholds leave ``target_l0`` features active for normal pre-activations; thresholds stay at or above 0.
    With the ``step`` penalty, `threshold_correction` moves all of them while a batch is far from the target.

    Parameters
    ----------
    target_l0
        Mean number of features per token.
    sparsity_coefficient, sparsity_warmup_fraction
        Weight of the penalty, and share of the run over which it rises from 0.
    penalty
        ``step``: ``(l0 / target_l0 - 1) ** 2``; ``tanh``: ``sum tanh(code / spread) / target_l0`` (Anthropic,
        Circuits Updates, January 2025), a smooth count without a target, whose weight sets the sparsity.
    bandwidth
        Width of the window in which tokens move a threshold, in standard deviations of an initial pre-activation.
    auxk_coefficient
        Weight of the auxiliary loss that revives dead features.
    """

    @dataclass(frozen=True)
    class Settings:
        target_l0: MeanFeatureCount
        sparsity_coefficient: Coefficient = 1.0
        penalty: Literal["step", "tanh"] = "step"
        bandwidth: Width = 0.5
        sparsity_warmup_fraction: Fraction = 0.05
        auxk_coefficient: Coefficient = 1 / 32

    settings: Settings
    scaled_parameters = (*SAE.scaled_parameters, "threshold")

    def setup(self) -> None:
        quantile = NormalDist().inv_cdf(max(1 - self.settings.target_l0 / self.d_sae, 0.5))
        self.threshold = nn.Parameter(torch.full((self.d_sae,), quantile * self.init_std))
        self.window = self.settings.bandwidth * self.init_std

    def select(self, pre: PreActivations) -> Codes:
        support = pre.above(self.threshold - self.window / 2)
        threshold = per_feature(self.threshold, support)
        return Codes(jump_relu(pre.at(support), threshold, self.window), support)

    def penalties(self, forward: ForwardOutput, progress: Progress) -> dict[str, Tensor]:
        weight = self.settings.sparsity_coefficient * progress.ramp(self.settings.sparsity_warmup_fraction)
        auxk = self.settings.auxk_coefficient * auxk_loss(forward, progress.dead, self.W_dec)
        if self.settings.penalty == "tanh":
            count = forward.batch.sum(torch.tanh(forward.codes.values / self.init_std).sum()) / forward.n_tokens
            return {"tanh": weight * (count / self.settings.target_l0), "auxk": auxk}
        threshold = per_feature(self.threshold, forward.codes.support)
        fired = step(forward.pre.at(forward.codes.support), threshold, self.window).sum()
        l0 = forward.batch.sum(fired) / forward.n_tokens
        return {"l0_target": weight * (l0 / self.settings.target_l0 - 1).square(), "auxk": auxk}

    def after_step(self, forward: ForwardOutput, progress: Progress) -> None:
        target = self.settings.target_l0
        if self.settings.penalty == "step" and self.settings.sparsity_coefficient > 0:
            self.threshold.add_(threshold_correction(forward, self.threshold, target, self.window / 2, progress))
        self.threshold.clamp_(min=0)
