"""What every sparse autoencoder shares: parameters, units, encode and decode, the unit-norm decoder."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from biosae.errors import DataError, SettingError

from .codes import Codes
from .preactivations import PreActivations


@dataclass(frozen=True, eq=False)
class Forward:
    """One training forward, in normalised units.

    Attributes
    ----------
    x
        ``(n, d_in)`` the normalised activations.
    pre
        Encoder output before selection.
    codes
        Selected codes.
    reconstruction
        ``(n, d_in)``.
    """

    x: Tensor
    pre: PreActivations
    codes: Codes
    reconstruction: Tensor

    @cached_property
    def residual(self) -> Tensor:
        """``(n, d_in)`` what the reconstruction leaves over, without gradient."""
        return self.x - self.reconstruction.detach()


@dataclass(frozen=True, eq=False)
class Progress:
    """Where a run stands: ``step`` of ``total_steps``, and ``dead`` ``(d_sae,) bool``, the silent features."""

    step: int
    total_steps: int
    dead: Tensor

    @property
    def fraction(self) -> float:
        """Share of the run that is over, 0 to 1."""
        return self.step / self.total_steps

    def ramp(self, share: float) -> float:
        """Rises from 0 to 1 over the first ``share`` of the run."""
        return min(1.0, self.fraction / share) if share > 0 else 1.0


class SAE(nn.Module, ABC):
    """A linear encoder, a selection and a linear decoder whose rows are unit-norm features.

    Inputs and outputs are in the host model's units. Inside, activations are centred and divided by
    one number, so that their mean squared norm is 1. So losses depend neither on the width nor on the
    scale of the host: a reconstruction loss of 1 is the mean predictor's. With unit-norm weights a
    pre-activation has variance ``1 / d_in``, and weights, biases and thresholds are all of that size, so
    that one learning rate fits them.

    A variant overrides at most five places: `select`, `select_for_training`, `reconstruction_loss`,
    `penalties` and `after_step`. Its constructor takes ``d_in``, ``d_sae`` and named settings, and keeps
    each as an attribute of the same name.

    Parameters
    ----------
    d_in, d_sae
        Width of the activations, number of features.
    seed
        Decides the initial features.
    """

    def __init__(self, d_in: int, d_sae: int, seed: int = 0):
        super().__init__()
        check_at_least("d_in", d_in, 1)
        check_at_least("d_sae", d_sae, 1)
        self.d_in, self.d_sae, self.seed = d_in, d_sae, seed
        generator = torch.Generator().manual_seed(seed)
        features = nn.functional.normalize(torch.randn(d_sae, d_in, generator=generator), dim=1)
        self.W_dec = nn.Parameter(features)
        # Stored feature by feature, as its gradient is computed; shape (d_in, d_sae).
        self.W_enc = nn.Parameter(features.clone().t())
        self.b_enc = nn.Parameter(torch.zeros(d_sae))
        self.b_dec = nn.Parameter(torch.zeros(d_in))
        self.register_buffer("input_mean", torch.zeros(d_in))
        self.register_buffer("input_scale", torch.ones(()))

    # Open to variants.

    in_input_units: tuple[str, ...] = ("b_enc", "b_dec")
    """Names of the parameters and buffers that grow with the activations; `fold` rescales them."""

    norm_moves_to_encoder = False
    """True lets the norms of the decoder rows learn: each step moves them into the encoder."""

    @abstractmethod
    def select(self, pre: PreActivations) -> Codes:
        """Codes at inference: row by row, deterministic, from the saved state alone."""

    def select_for_training(self, pre: PreActivations) -> Codes:
        """Codes in a training step."""
        return self.select(pre)

    def reconstruction_loss(self, forward: Forward) -> Tensor:
        """Mean over tokens of the squared norm of the residual."""
        return squared_error(forward.x, forward.reconstruction)

    def penalties(self, forward: Forward, progress: Progress) -> dict[str, Tensor]:
        """Further named terms of the objective."""
        return {}

    def after_step(self, forward: Forward, progress: Progress) -> None:
        """The only place where a variant changes its state."""

    # Final from here on.

    def fit_normaliser(self, x: Tensor) -> None:
        """Takes centre and scale from ``(n_tokens, d_in)`` activations in host units."""
        self._check_input(x)
        if not torch.isfinite(x).all():
            raise DataError("activations contain NaN or infinite values; check the model and its input")
        wide = x.double()
        mean = wide.mean(0)
        scale = squared_error(wide, mean.expand_as(wide)).sqrt()
        if not scale > 0:
            raise DataError(f"all {len(x)} activations are equal: there is nothing to learn from them")
        self.input_mean.copy_(mean)
        self.input_scale.copy_(scale)

    def normalise(self, x: Tensor) -> Tensor:
        """Host units to normalised units."""
        self._check_input(x)
        return (x - self.input_mean) / self.input_scale

    @torch.no_grad()
    def encode(self, x: Tensor) -> Codes:
        """Codes of ``(n_tokens, d_in)`` activations in host units."""
        return self.select(self._pre(self.normalise(x)))

    @torch.no_grad()
    def decode(self, codes: Codes) -> Tensor:
        """``(n_tokens, d_in)`` reconstruction in host units."""
        return (codes.decode(self.W_dec) + self.b_dec) * self.input_scale + self.input_mean

    def forward(self, x: Tensor) -> Tensor:
        """Reconstruction of ``(n_tokens, d_in)`` activations, both in host units, by the inference path."""
        return self.decode(self.encode(x))

    def training_forward(self, x: Tensor) -> Forward:
        """Codes and reconstruction with gradients; ``x`` in host units."""
        x = self.normalise(x)
        pre = self._pre(x)
        codes = self.select_for_training(pre)
        return Forward(x, pre, codes, codes.decode(self.W_dec) + self.b_dec)

    def losses(self, forward: Forward, progress: Progress) -> dict[str, Tensor]:
        """The terms whose sum is minimised; changes no state."""
        return {"reconstruction": self.reconstruction_loss(forward), **self.penalties(forward, progress)}

    @torch.no_grad()
    def normalize_decoder(self) -> None:
        """Sets every decoder row to unit norm."""
        norm = self.W_dec.norm(dim=1).clamp(min=torch.finfo(self.W_dec.dtype).tiny)
        self.W_dec.div_(norm[:, None])
        if self.norm_moves_to_encoder:
            self.W_enc.mul_(norm)
            self.b_enc.mul_(norm)

    @torch.no_grad()
    def project_decoder_gradient(self) -> None:
        """Takes out the part of the decoder's gradient that would only change the norm of its rows."""
        if self.norm_moves_to_encoder:
            return
        along = (self.W_dec.grad * self.W_dec).sum(1, keepdim=True)
        self.W_dec.grad.addcmul_(along, self.W_dec, value=-1)

    @torch.no_grad()
    def fold(self) -> SAE:
        """A copy without normaliser: weights read and write host units, and codes are in host units too."""
        folded = deepcopy(self)
        for name, tensor in folded.state_dict().items():
            if name in self.in_input_units:
                tensor.mul_(self.input_scale)
        folded.b_dec.add_(self.input_mean)
        folded.input_mean.zero_()
        folded.input_scale.fill_(1)
        return folded

    def settings(self) -> dict[str, Any]:
        """The constructor's arguments, by name."""
        return {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}

    def _pre(self, x: Tensor) -> PreActivations:
        return PreActivations(x, self.b_dec, self.W_enc, self.b_enc)

    def _check_input(self, x: Tensor) -> None:
        if x.ndim != 2 or x.shape[1] != self.d_in or len(x) == 0:
            message = f"activations must be (n_tokens, d_in={self.d_in}) with at least one token"
            raise DataError(f"{message}, got shape {tuple(x.shape)}; drop padding and flatten before the SAE")


def squared_error(x: Tensor, reconstruction: Tensor) -> Tensor:
    """Mean over rows of the squared Euclidean distance."""
    return nn.functional.mse_loss(reconstruction, x, reduction="sum") / len(x)


def check_at_least(name: str, value: float, lowest: float) -> None:
    """Raises unless a setting is a number no smaller than ``lowest``."""
    if not value >= lowest:
        raise SettingError(f"{name} must be at least {lowest}, got {value}")


def check_k(k: int, d_sae: int) -> None:
    """Raises unless ``k`` features can be chosen among ``d_sae``."""
    if int(k) != k or not 1 <= k <= d_sae:
        raise SettingError(f"k must be a whole number between 1 and d_sae={d_sae}, got {k}")


def check_fraction(name: str, value: float) -> None:
    """Raises unless a setting is a share, 0 to 1."""
    if not 0 <= value <= 1:
        raise SettingError(f"{name} must be between 0 and 1, got {value}")


def check_above_zero(name: str, value: float, highest: float) -> None:
    """Raises unless a setting is above 0 and no larger than ``highest``."""
    if not 0 < value <= highest:
        raise SettingError(f"{name} must be above 0 and at most {highest}, got {value}")
