"""The base of every sparse autoencoder: parameters, units, encode and decode, the unit-norm decoder."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from biosae.errors import DataError, SettingError
from biosae.ops.adam import normalize_rows_, project_gradient_

from .architecture import PLAIN, Architecture
from .batch import WHOLE_BATCH, Batch
from .code_edits import NOTHING, code_changes, movement
from .codes import Codes
from .exports import export
from .forward import ForwardOutput, Progress, squared_error
from .inputs import as_codes, as_rows, check_kind, check_shape, gradients_of, own_scale, token_unit
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
        self.is_fitted = False  # the normaliser, which training fits unless the SAE comes from elsewhere
        self.run_folder: Path | None = None  # of the run that trained it
        self.register_load_state_dict_post_hook(lambda sae, _: setattr(sae, "is_fitted", True))
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
        check_shape(x, self.d_in)
        if not torch.isfinite(x).all():
            raise DataError("activations contain NaN or infinite values; check the model and its input")
        wide = self._layer_normed(x.double())
        mean = wide.mean(0)
        scale = (squared_error(wide, mean.expand_as(wide)) / len(wide)).sqrt()
        if not scale > 0:
            raise DataError(f"all {len(x)} activations are equal: there is nothing to learn from them")
        self.input_mean.copy_(mean)
        self.input_scale.copy_(scale)
        self.is_fitted = True

    def normalise(self, x: Tensor) -> Tensor:
        """Convert activation units to normalised units."""
        check_shape(x, self.d_in)
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
        mean, spread = own_scale(x)
        return output * spread + mean

    def encode(self, x: Tensor | np.ndarray) -> Codes:
        """Return the codes of ``(..., d_in)`` activations by the inference path; differentiable in them."""
        rows, leading = as_rows(x, self)
        check_kind(rows, self)
        with gradients_of(rows):
            codes = self.select(self._pre(self.normalise(rows)))
        return codes if len(leading) == 1 else replace(codes, leading=leading)

    def decode(self, codes: Codes | Tensor | np.ndarray, x: Tensor | np.ndarray | None = None) -> Tensor:
        """Return the ``(..., d_in)`` reconstruction in activation units; differentiable in the codes.

        Parameters
        ----------
        codes
            From `encode`, or dense ``(..., d_sae)``.
        x
            The activations; see `denormalise`.
        """
        codes = as_codes(codes, self)
        x = None if x is None else as_rows(x, self)[0]
        with gradients_of(codes.values, x):
            output = self.denormalise(self._decoded(codes), x)
        return output if codes.leading is None else output.view(*codes.leading, self.d_in)

    def forward(self, x: Tensor) -> Tensor:
        """Return the reconstruction of ``(..., d_in)`` activations by the inference path."""
        return self.decode(self.encode(x), x)

    def edit(
        self,
        x: Tensor | np.ndarray,
        *,
        ablate: Iterable[int | str] = (),
        clamp: Mapping[int | str, float] = NOTHING,
        scale: Mapping[int | str, float] = NOTHING,
        add: Mapping[int | str, float] = NOTHING,
    ) -> Tensor:
        """Return activations in which some features are changed; what the SAE does not explain stays.

        Parameters
        ----------
        x
            ``(..., d_in)`` activations.
        ablate
            Features, as numbers or names such as ``"f12"``, whose codes become 0.
        clamp, scale, add
            Feature to the value that its codes take, are multiplied by, or increase by, in the units of codes.

        Raises
        ------
        SettingError
            If a feature does not exist, or is named twice.
        """
        rows, leading = as_rows(x, self)
        asked = {"ablate": dict.fromkeys(ablate, 0.0), "clamp": clamp, "scale": scale, "add": add}
        with gradients_of(rows):
            features, change = code_changes(asked, self.encode(rows))
            return (rows + movement(self, change, features, rows)).view(*leading, self.d_in)

    def training_forward(self, x: Tensor, batch: Batch = WHOLE_BATCH) -> ForwardOutput:
        """Return codes and reconstruction, with gradients, of ``(n, d_in)`` activations, rows of ``batch``."""
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
        folded.is_fitted = True
        return folded

    def export(self, library: str, folder: Path | str) -> Path:
        """Write the SAE as ``saelens`` or ``dictionary_learning`` reads it; see `biosae.saes.exports.export`."""
        return export(self, library, folder)

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
        n_tokens = check_shape(x, self.d_in, batch)
        normalised = self._normalised(x)
        pre = self._pre(normalised, batch)
        codes = select(pre)
        return ForwardOutput(normalised, pre, codes, self._decoded, n_tokens, token_unit(x, self), batch)

    def _pre(self, x: Tensor, batch: Batch = WHOLE_BATCH) -> PreActivations:
        return PreActivations(x, self.b_dec, self.W_enc, self.b_enc, batch)

    def _decoded(self, codes: Codes) -> Tensor:
        return codes.decode(self.W_dec) + self.b_dec

    def _normalised(self, x: Tensor) -> Tensor:
        return (self._layer_normed(x) - self.input_mean).div_(self.input_scale)

    def _layer_normed(self, x: Tensor) -> Tensor:
        if not self.architecture.layer_norm:
            return x
        mean, spread = own_scale(x)
        return (x - mean) / spread
