"""The gated encoder: one affine map decides whether a feature fires, a scaled copy how strongly."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from biosae.ops.support import per_feature
from biosae.saes.codes import Codes
from biosae.saes.forward import ForwardOutput
from biosae.saes.preactivations import PreActivations


class Gate(nn.Module):
    """Scale and bias of the magnitudes; the gate's bias is the encoder's (Rajamanoharan et al. 2024, arXiv 2404.16014).

    With ``pre = W_enc (x - b_dec) + b_enc`` a feature fires where ``pre > 0``, with the strength
    ``relu(exp(r_mag) (pre - b_enc) + b_mag)``.
    """

    def __init__(self, d_sae: int):
        super().__init__()
        self.r_mag = nn.Parameter(torch.zeros(d_sae))
        self.b_mag = nn.Parameter(torch.zeros(d_sae))

    def forward(self, pre: PreActivations) -> Codes:
        support = pre.above(0.0)
        gate = pre.at(support)
        r_mag, b_mag = map(pre.shards.here, (self.r_mag, self.b_mag))
        scale, bias, gate_bias = (per_feature(p, support) for p in (r_mag.exp(), b_mag, pre.b_enc))
        return Codes((gate > 0) * torch.relu(scale * (gate - gate_bias) + bias), support)


def gate_codes(forward: ForwardOutput) -> Codes:
    """The rectified gate itself: it gets a gradient where the codes, being gated, give it none."""
    support = forward.codes.support
    return Codes(torch.relu(forward.pre.at(support)), support)


def gate_reconstruction_loss(codes: Codes, forward: ForwardOutput, W_dec: Tensor, b_dec: Tensor) -> Tensor:
    """Squared error when the rectified gate is decoded by a frozen copy of the decoder (equation 8)."""
    here = forward.pre.shards.here
    return forward.error(forward.over_features(codes.decode(here(W_dec).detach())) + here(b_dec).detach())
