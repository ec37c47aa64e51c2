"""A model run through an SAE with gradients: what a prediction owes to each code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from .base import ModelAdapter
    from .tokens import TokenBatch


@dataclass(eq=False)
class SplicedOutput:
    """Output of a spliced run; every tensor has gradients down to the codes.

    Attributes
    ----------
    hidden
        ``(n, L, d_model)`` final hidden states.
    embedding
        ``(n, d_model)`` pooled sample embeddings.
    expression
        ``(n, L)`` what the model's head predicts of every token; None without a head.
    """

    hidden: Tensor
    embedding: Tensor
    expression: Tensor | None


class Spliced:
    """A model whose activations at a layer pass through an SAE.

    Activations are the SAE's reconstruction plus its error, which is a constant, so that the outputs are those of the
    model and gradients are those of the codes.

    Attributes
    ----------
    codes
        ``(n_tokens, d_sae)`` dense codes of the content tokens of the last batch, a leaf: ``codes.grad`` after
        ``backward``.
    """

    def __init__(self, model: ModelAdapter, sae: nn.Module, layer: int):
        self._model, self._sae, self._layer = model, sae, layer
        self.codes: Tensor | None = None

    def __call__(self, batch: TokenBatch) -> SplicedOutput:
        model = self._model
        with torch.enable_grad():
            hidden = model._run_edited(batch, self._layer, self._through_codes)
            expression = model.expression(hidden, batch) if model.predicts else None
            return SplicedOutput(hidden, model.pool(hidden, batch), expression)

    def _through_codes(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            self.codes = self._sae.encode(x).dense()
            error = x - self._sae.decode(self.codes, x)
        self.codes.requires_grad_()
        return self._sae.decode(self.codes, x) + error
