"""Options of the encoder and decoder that every variant has."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from biosae.errors import SettingError

LINEAR_LAYER_NORM = 3**-0.5
"""Initial norm of a row of ``torch.nn.Linear``, whose entries are uniform within ``1 / sqrt(d_in)``."""

ENCODER_INITS = ("decoder", "kaiming_uniform")
DECODER_NORMS = ("unit", "unit_at_start", "free")
LOSS_UNITS = ("dataset", "token")


@dataclass(frozen=True)
class Architecture:
    """Options that every variant has.

    Attributes
    ----------
    layer_norm
        Every token is centred and divided by its own standard deviation before the encoder, and that is undone
        after the decoder (Gao et al. 2024, arXiv 2406.04093, section 2.1).
    tied_decoder
        The decoder is the encoder transposed.
    encoder_init
        ``decoder``: the encoder starts as the decoder transposed, shrunk to the norm of a linear layer;
        ``kaiming_uniform``: it is drawn apart (He et al. 2015, as in ``torch.nn.Linear``).
    decoder_norm
        ``unit``: decoder rows have norm 1 after every step; ``unit_at_start``: at the start only;
        ``free``: they start at the norm of a linear layer and learn it.
    loss_unit
        ``dataset``: errors count against the mean squared norm of the centred data, so that the loss is an FVU;
        ``token``: against the token's own squared norm, so that it is an NMSE, and codes in penalties count
        against the token's norm.
    """

    layer_norm: bool = False
    tied_decoder: bool = False
    encoder_init: str = "decoder"
    decoder_norm: str = "unit"
    loss_unit: str = "dataset"

    def __post_init__(self):
        for name, known in (
            ("encoder_init", ENCODER_INITS),
            ("decoder_norm", DECODER_NORMS),
            ("loss_unit", LOSS_UNITS),
        ):
            if (value := getattr(self, name)) not in known:
                raise SettingError(f"{name} must be {', '.join(known[:-1])} or {known[-1]}, got {value}", argument=name)

    def init(self, d_in: int, d_sae: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return the initial encoder and decoder, both ``(d_sae, d_in)``."""
        decoder = torch.nn.functional.normalize(torch.randn(d_sae, d_in, generator=generator), dim=1)
        if self.encoder_init == "decoder":
            encoder = LINEAR_LAYER_NORM * decoder
        else:
            encoder = torch.empty(d_sae, d_in).uniform_(-(d_in**-0.5), d_in**-0.5, generator=generator)
        if self.tied_decoder:
            decoder = encoder if self.decoder_norm == "free" else torch.nn.functional.normalize(encoder, dim=1)
        elif self.decoder_norm == "free":
            decoder = LINEAR_LAYER_NORM * decoder
        return encoder, decoder

    @property
    def encoder_norm(self) -> float:
        """Typical initial norm of an encoder column."""
        return 1.0 if self.tied_decoder and self.decoder_norm != "free" else LINEAR_LAYER_NORM


PLAIN = Architecture()
