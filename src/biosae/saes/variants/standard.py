"""Standard: ReLU codes and an L1 penalty."""

from __future__ import annotations

from torch import Tensor

from biosae.errors import SettingError
from biosae.ops.support import per_feature
from biosae.saes.architecture import PLAIN, Architecture
from biosae.saes.base import SAE
from biosae.saes.checks import check_at_least, check_fraction
from biosae.saes.codes import Codes
from biosae.saes.forward import ForwardOutput, Progress
from biosae.saes.parts.init import bound_first_reconstruction
from biosae.saes.parts.penalty import l1
from biosae.saes.parts.selection import positive
from biosae.saes.preactivations import PreActivations


class Standard(SAE):
    """ReLU sparse autoencoder with an L1 penalty (Bricken et al. 2023, Towards Monosemanticity).

    Parameters
    ----------
    l1_coefficient
        Weight of the summed codes against a reconstruction loss of 1 for the mean predictor.
    weigh_by_decoder_norm
        The form of Anthropic's Circuits Updates, April 2024: decoder norms learn, and a code counts as
        much as its decoder row is long. Rows are kept at unit norm by moving the norm into the encoder,
        which changes neither outputs nor loss.
    sparsity_warmup_fraction
        Share of the run over which the penalty rises from 0.
    """

    base_lr = 2e-3  # a faster start under the penalty leaves features dead
    adam_beta1 = 0.7  # as in Gated: docs/performance.md

    def __init__(
        self,
        d_in: int,
        d_sae: int,
        l1_coefficient: float,
        weigh_by_decoder_norm: bool = False,
        sparsity_warmup_fraction: float = 0.05,
        seed: int = 0,
        architecture: Architecture = PLAIN,
    ):
        super().__init__(d_in, d_sae, seed, architecture)
        bound_first_reconstruction(self)
        check_at_least("l1_coefficient", l1_coefficient, 0)
        check_fraction("sparsity_warmup_fraction", sparsity_warmup_fraction)
        self.l1_coefficient, self.sparsity_warmup_fraction = l1_coefficient, sparsity_warmup_fraction
        if weigh_by_decoder_norm and (architecture.tied_decoder or architecture.decoder_norm != "unit"):
            raise SettingError(
                "weigh_by_decoder_norm moves norms into an encoder of its own: untied, decoder_norm=unit"
            )
        self.weigh_by_decoder_norm = self.norm_moves_to_encoder = weigh_by_decoder_norm

    def select(self, pre: PreActivations) -> Codes:
        return positive(pre)

    def penalties(self, forward: ForwardOutput, progress: Progress) -> dict[str, Tensor]:
        codes = forward.codes
        if self.weigh_by_decoder_norm:
            codes = Codes(codes.values * per_feature(self.W_dec.norm(dim=1), codes.support), codes.support)
        weight = self.l1_coefficient * progress.ramp(self.sparsity_warmup_fraction)
        return {"l1": weight * forward.batch.sum(l1(forward.in_loss_unit(codes), forward.n_tokens))}
