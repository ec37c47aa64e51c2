"""The base of every sparse autoencoder: parameters, units, encode and decode, the unit-norm decoder."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from copy import deepcopy
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from biosae.errors import DataError, SettingError
from biosae.ops.adam import normalize_rows_, project_gradient_

from .architecture import PLAIN, Architecture
from .batch import WHOLE_BATCH, Batch
from .codes import Codes
from .forward import ForwardOutput, Progress, squared_error
from .preactivations import PreActivations
from .settings import check_at_least, make_settings


class SAE(nn.Module, ABC):
    """A linear encoder, a selection and a linear decoder whose rows are unit-norm features.

    Inputs and outputs are in activation units, those of the host model. Inside, activations are centred and divided
    by one number, so that their mean squared norm is 1. Losses then depend neither on the width nor on the scale of
    the host: the mean predictor has a reconstruction loss of 1. Pre-activations start with a variance of about
    ``1 / (3 d_in)``, and weights, biases and thresholds are all of that size, so that one learning rate fits them.

    A variant declares its `Settings` and overrides at most five methods, `select`, `select_for_training`,
    `reconstruction_loss`, `penalties` and `after_step`, and `setup` where it has parameters or buffers of its own.

    Parameters
    ----------
    d_in, d_sae
        Width of the activations, number of features.
    seed
        Seed of the initial features.
    architecture
        Options that every variant has.
    hyperparams
        Settings of the variant, by name.
    """

    def __init__(self, d_in: int, d_sae: int, *, seed: int = 0, architecture: Architecture = PLAIN, **hyperparams: Any):
        super().__init__()
        for name, width in (("d_in", d_in), ("d_sae", d_sae)):
            check_at_least(name, width, 1)
            if not isinstance(width, int):
                raise SettingError(f"{name} must be a whole number, got {width}", argument=name)
        self.d_in, self.d_sae, self.seed, self.architecture = d_in, d_sae, seed, architecture
        self.settings = make_settings(self.Settings, hyperparams, d_sae, type(self).__name__)
        encoder, decoder = architecture.init(d_in, d_sae, torch.Generator().manual_seed(seed))
        self.W_dec = nn.Parameter(decoder)
        if not architecture.tied_decoder:
            # Stored feature by feature, as its gradient is computed; shape (d_in, d_sae).
            self.W_enc = nn.Parameter(encoder.t())
        self.b_enc = nn.Parameter(torch.zeros(d_sae))
        self.b_dec = nn.Parameter(torch.zeros(d_in))
        self.register_buffer("input_mean", torch.zeros(d_in))
        self.register_buffer("input_scale", torch.ones(()))
        self.setup()

    def __getattr__(self, name: str) -> Any:
        if name == "W_enc" and self.architecture.tied_decoder:
            return self.W_dec.t()
        return super().__getattr__(name)

    # Open to variants.

    @dataclass(frozen=True)
    class Settings:
        """Settings of a variant and the values that they take; see `biosae.saes.settings`."""

    settings: Settings

    scaled_parameters: tuple[str, ...] = ("b_enc", "b_dec")
    """Names of the parameters and buffers in normalised units; `fold` rescales them."""

    norm_moves_to_encoder = False
    """True if the norms of decoder rows are learned: each step moves them into the encoder."""

    base_lr: float = 5e-3
    """The learning rate that suits 1,024 features in runs of some hundred to some thousand steps."""

    adam_beta1: float = 0.9
    """Adam's beta1."""

    def setup(self) -> None:
        """Add the variant's own parameters and buffers; called once, at the end of the constructor."""

    @abstractmethod
    def select(self, pre: PreActivations) -> Codes:
        """Return the codes at inference: row by row, deterministic, from the saved state alone."""

    def select_for_training(self, pre: PreActivations) -> Codes:
        """Return the codes in a training step."""
        return self.select(pre)

    def reconstruction_loss(self, forward: ForwardOutput) -> Tensor:
        """Return the mean over tokens of the squared norm of the residual."""
        return forward.error(forward.reconstruction)

    def penalties(self, forward: ForwardOutput, progress: Progress) -> dict[str, Tensor]:
        """Return further terms of the objective, by name."""
        return {}

    def after_step(self, forward: ForwardOutput, progress: Progress) -> None:
        """Update the variant's state after an optimiser step; the only method that may change it."""

    # Final from here on.

    def fit_normaliser(self, x: Tensor) -> None:
        """Fit centre and scale to ``(n_tokens, d_in)`` activations."""
        self._check_input(x)
        if not torch.isfinite(x).all():
            raise DataError("activations contain NaN or infinite values; check the model and its input")
        wide = self._layer_normed(x.double())
        mean = wide.mean(0)
        scale = (squared_error(wide, mean.expand_as(wide)) / len(wide)).sqrt()
        if not scale > 0:
            raise DataError(f"all {len(x)} activations are equal: there is nothing to learn from them")
        self.input_mean.copy_(mean)
        self.input_scale.copy_(scale)

    def normalise(self, x: Tensor) -> Tensor:
        """Convert activation units to normalised units."""
        self._check_input(x)
        return self._normalised(x)

    def denormalise(self, normalised: Tensor, x: Tensor | None = None) -> Tensor:
        """Convert normalised units to activation units; the inverse of `normalise` for the tokens ``x``.

        Only layer normalisation needs ``x``: the mean and the spread of a token are not in its codes.
        """
        output = normalised * self.input_scale + self.input_mean
        if not self.architecture.layer_norm:
            return output
        if x is None:
            raise SettingError("this SAE uses layer normalisation; pass the activations as well: sae.decode(codes, x)")
        mean, spread = _own_scale(x)
        return output * spread + mean

    @torch.no_grad()
    def encode(self, x: Tensor) -> Codes:
        """Return the codes of ``(n_tokens, d_in)`` activations."""
        self._check_kind(x)
        return self.select(self._pre(self.normalise(x)))

    @torch.no_grad()
    def decode(self, codes: Codes, x: Tensor | None = None) -> Tensor:
        """Return the ``(n_tokens, d_in)`` reconstruction in activation units; see `denormalise` for ``x``."""
        if not isinstance(codes, Codes):
            message = f"decode takes Codes, got {type(codes).__name__}"
            raise DataError(f"{message}: dense ones become Codes(values), of biosae.saes.codes")
        return self.denormalise(self._decoded(codes), x)

    def forward(self, x: Tensor) -> Tensor:
        """Return the reconstruction of ``(n_tokens, d_in)`` activations by the inference path."""
        return self.decode(self.encode(x), x)

    def training_forward(self, x: Tensor, batch: Batch = WHOLE_BATCH) -> ForwardOutput:
        """Return codes and reconstruction with gradients.

        Parameters
        ----------
        x
            ``(n, d_in)`` activations, rows of ``batch``.
        """
        return self._forward(x, self.select_for_training, batch)

    @torch.no_grad()
    def inference_forward(self, x: Tensor, batch: Batch = WHOLE_BATCH) -> ForwardOutput:
        """Return the same by the inference path, to measure a trained SAE."""
        return self._forward(x, self.select, batch)

    def losses(self, forward: ForwardOutput, progress: Progress) -> dict[str, Tensor]:
        """Return the terms whose sum is minimised; changes no state."""
        return {"reconstruction": self.reconstruction_loss(forward), **self.penalties(forward, progress)}

    @torch.no_grad()
    def normalize_decoder(self) -> None:
        """Set every decoder row to unit norm, unless the architecture leaves norms free."""
        if self.architecture.decoder_norm != "unit":
            return
        norm = normalize_rows_(self.W_dec)
        if self.norm_moves_to_encoder:
            self.W_enc.mul_(norm)
            self.b_enc.mul_(norm)

    @torch.no_grad()
    def project_decoder_gradient(self) -> None:
        """Remove the part of the decoder's gradient that would only change the norm of its rows."""
        if self.has_unit_norm_decoder:
            project_gradient_(self.W_dec)

    @torch.no_grad()
    def fold(self) -> SAE:
        """Return a copy without normaliser, whose weights and codes are in activation units."""
        if self.architecture.layer_norm:
            raise SettingError("layer normalisation differs from token to token and cannot be folded into weights")
        folded = deepcopy(self)
        for name, tensor in folded.state_dict().items():
            if name in self.scaled_parameters:
                tensor.mul_(self.input_scale)
        folded.b_dec.add_(self.input_mean)
        folded.input_mean.zero_()
        folded.input_scale.fill_(1)
        return folded

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments, by name."""
        sizes = {"d_in": self.d_in, "d_sae": self.d_sae}
        return {**sizes, **asdict(self.settings), "seed": self.seed, "architecture": asdict(self.architecture)}

    @property
    def has_unit_norm_decoder(self) -> bool:
        """True if decoder rows have unit norm and their norms are not learned elsewhere."""
        return self.architecture.decoder_norm == "unit" and not self.norm_moves_to_encoder

    @property
    def init_std(self) -> float:
        """Standard deviation of a pre-activation before training."""
        return self.architecture.encoder_norm * self.d_in**-0.5

    def _forward(self, x: Tensor, select: Callable[[PreActivations], Codes], batch: Batch) -> ForwardOutput:
        n_tokens = self._check_input(x, batch)
        normalised = self._normalised(x)
        pre = self._pre(normalised, batch)
        codes = select(pre)
        return ForwardOutput(normalised, pre, codes, self._decoded, n_tokens, self._token_unit(x), batch)

    def _pre(self, x: Tensor, batch: Batch = WHOLE_BATCH) -> PreActivations:
        return PreActivations(x, self.b_dec, self.W_enc, self.b_enc, batch)

    def _decoded(self, codes: Codes) -> Tensor:
        return codes.decode(self.W_dec) + self.b_dec

    def _normalised(self, x: Tensor) -> Tensor:
        return (self._layer_normed(x) - self.input_mean).div_(self.input_scale)

    def _layer_normed(self, x: Tensor) -> Tensor:
        if not self.architecture.layer_norm:
            return x
        mean, spread = _own_scale(x)
        return (x - mean) / spread

    def _token_unit(self, x: Tensor) -> Tensor | None:
        """Return ``(n, 1)`` one normalised unit as a share of each token's norm, where losses count in that unit."""
        if self.architecture.loss_unit == "dataset":
            return None
        norm = x.norm(dim=1, keepdim=True)
        if not (norm > 0).all():
            raise DataError("an activation is zero and the loss is relative to its norm; leave it out of the data")
        unit = self.input_scale * _own_scale(x)[1] if self.architecture.layer_norm else self.input_scale
        return unit / norm

    def _check_kind(self, x: Tensor) -> None:
        """Check type, device and dtype, so that users see our message instead of torch's."""
        if not isinstance(x, Tensor):
            raise DataError(f"activations must be a torch tensor, got {type(x).__name__}: torch.as_tensor(x)")
        if x.device != self.W_dec.device:
            message = f"activations are on {x.device}, the SAE on {self.W_dec.device}"
            raise DataError(f"{message}: x.to(sae.W_dec.device), or load the SAE with device=")
        own = self.input_mean.dtype
        if torch.promote_types(x.dtype, own) != own:
            raise DataError(f"activations are {x.dtype}, the SAE {own}: x.to({own}), or sae.to({x.dtype})")

    def _check_input(self, x: Tensor, batch: Batch = WHOLE_BATCH) -> int:
        """Check the shape of rows of a batch, and return the number of tokens in the batch."""
        n_tokens = batch.count(len(x)) if x.ndim == 2 and x.shape[1] == self.d_in else 0
        if n_tokens == 0:
            message = f"activations must be (n_tokens, d_in={self.d_in}) with at least one token"
            raise DataError(f"{message}, got shape {tuple(x.shape)}; drop padding and flatten before the SAE")
        return n_tokens


def _own_scale(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of every row, ``(n, 1)``; a constant row has a spread of 1."""
    spread, mean = torch.std_mean(x, dim=1, keepdim=True, correction=0)
    return mean, torch.where(spread > 0, spread, torch.ones_like(spread))
