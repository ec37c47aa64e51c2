"""Standard: ReLU codes and an L1 penalty."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from biosae.errors import SettingError
from biosae.ops.support import per_feature
from biosae.saes.base import SAE
from biosae.saes.codes import Codes
from biosae.saes.forward import ForwardOutput, Progress
from biosae.saes.parts import bound_first_reconstruction, l1, positive
from biosae.saes.preactivations import PreActivations
from biosae.saes.settings import Coefficient, Fraction


class Standard(SAE):
    """ReLU sparse autoencoder with an L1 penalty (Bricken et al. 2023, Towards Monosemanticity).

    Parameters
    ----------
    l1_coefficient
        Weight of the summed codes; the mean predictor has a reconstruction loss of 1.
    weigh_by_decoder_norm
        The form of Anthropic's Circuits Updates, April 2024: decoder norms are learned, and a code counts in
        proportion to the norm of its decoder row. Rows are kept at unit norm by moving the norm into the encoder,
        which changes neither outputs nor loss.
    sparsity_warmup_fraction
        Share of the run over which the penalty rises from 0.
    """

    @dataclass(frozen=True)
    class Settings:
        l1_coefficient: Coefficient
        weigh_by_decoder_norm: bool = False
        sparsity_warmup_fraction: Fraction = 0.05

    settings: Settings
    base_lr = 2e-3  # a faster start under the penalty leaves features dead
    adam_beta1 = 0.7  # as in Gated: docs/performance.md

    def setup(self) -> None:
        bound_first_reconstruction(self)
        self.norm_moves_to_encoder = self.settings.weigh_by_decoder_norm
        if self.norm_moves_to_encoder and (self.architecture.tied_decoder or self.architecture.decoder_norm != "unit"):
            message = "weigh_by_decoder_norm moves norms into an encoder of its own: untied, decoder_norm=unit"
            raise SettingError(message, argument="weigh_by_decoder_norm")

    def select(self, pre: PreActivations) -> Codes:
        return positive(pre)

    def penalties(self, forward: ForwardOutput, progress: Progress) -> dict[str, Tensor]:
        codes = forward.codes
        if self.settings.weigh_by_decoder_norm:
            codes = Codes(codes.values * per_feature(self.W_dec.norm(dim=1), codes.support), codes.support)
        weight = self.settings.l1_coefficient * progress.ramp(self.settings.sparsity_warmup_fraction)
        return {"l1": weight * forward.batch.sum(l1(forward.in_loss_unit(codes), forward.n_tokens))}
