"""The gated encoder: one affine map gates a feature, a scaled copy of it gives the magnitude."""

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
        scale, bias, gate_bias = (per_feature(p, support) for p in (self.r_mag.exp(), self.b_mag, pre.b_enc))
        return Codes((gate > 0) * torch.relu(scale * (gate - gate_bias) + bias), support)


def gate_codes(forward: ForwardOutput) -> Codes:
    """Return the rectified gate: it gets a gradient where the gated codes give it none."""
    support = forward.codes.support
    return Codes(torch.relu(forward.pre.at(support)), support)


def gate_reconstruction_loss(codes: Codes, forward: ForwardOutput, W_dec: Tensor, b_dec: Tensor) -> Tensor:
    """Return the squared error of the rectified gate, decoded by a frozen copy of the decoder (equation 8)."""
    return forward.error(codes.decode(W_dec.detach()) + b_dec.detach())
