"""The interface of a foundation model: tokens in, activations at a layer out, edited activations in."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from itertools import chain
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from biosae.artefacts import settings_hash
from biosae.errors import SettingError

from .settings import check_choice
from .spliced import Spliced
from .tokens import TokenBatch, TokenSequences, length_buckets, pad_batch
from .transformer import site_module

CPU_TOKENS = 1024  # fits the cache: by MKL up to 1.6 times the speed of 4,096; see docs/models.md

PRECISIONS = ("fp32", "bf16")

Edit = Callable[[Tensor], Tensor]
"""A function of the content tokens' activations, ``(n_tokens, d_model)`` to the same shape."""


class ModelAdapter(ABC):
    """A frozen foundation model.

    An adapter defines how samples become tokens (`tokenize`) and how the network runs (`run`). It may also define
    `site`, `pool` and `expression`. Everything else is the same for all models and final.

    Parameters
    ----------
    name
        The model's name as the reports print it.
    network
        The frozen network, in eval mode; its blocks are the list ``layers``.
    vocabulary
        ``(n_vocabulary,) str`` identifier of each token (Ensembl id, amino acid, ``<cls>``). An entry ``<pad>`` is
        the padding token.
    d_model
        Width of the residual stream.
    token_names
        ``(n_vocabulary,) str`` name of each token for readers (gene symbol, amino acid); by default ``vocabulary``.
    site
        Where activations are read at a layer; see `site_module`.

    Attributes
    ----------
    n_layers, pad_token
        Number of layers; id of the padding token, 0 without one: padding is masked.
    fingerprint
        16 hex digits that change when weights or vocabulary change.
    pretrained_on
        Content hashes of the data files the network was pretrained on, or None when that is not recorded.
    reads_beside_tokens
        Content hash of any input beside weights and tokens; "" for networks.
    precision
        ``fp32``, or ``bf16`` for products in bfloat16; see `in_precision`.
    predicts
        Unit of the expression that the network's head predicts for each gene (`expression`); None without a head.
    settings
        Settings that it was loaded with, of which `biosae.pipeline.models.load_model` loads it again.
    """

    name: str
    network: nn.Module
    vocabulary: np.ndarray
    token_names: np.ndarray
    d_model: int
    n_layers: int
    pad_token: int
    fingerprint: str
    pretrained_on: list[str] | None = None
    reads_beside_tokens: str = ""
    precision: str = "fp32"
    predicts: str | None = None
    settings: Mapping[str, Any] = MappingProxyType({})

    def __init__(
        self,
        name: str,
        network: nn.Module,
        vocabulary: Sequence[str] | np.ndarray,
        d_model: int,
        token_names: Sequence[str] | np.ndarray | None = None,
        site: str = "residual",
    ):
        self.name, self.network, self._site = name, network, site
        self.vocabulary = np.asarray(vocabulary)
        self.token_names = self.vocabulary if token_names is None else np.asarray(token_names)
        self.d_model, self.n_layers = d_model, len(network.layers)
        padding = np.flatnonzero(self.vocabulary == "<pad>")
        self.pad_token = int(padding[0]) if len(padding) else 0

    @abstractmethod
    def tokenize(self, samples) -> TokenSequences:
        """Return the samples as tokens, one sequence per sample in the order of the samples.

        Cells come some thousand at a time: the tokens of one must not depend on the others.
        """

    @abstractmethod
    def run(self, batch: TokenBatch) -> Tensor:
        """Return the final hidden states, ``(n, L, d_model)``, without any output head."""

    def site(self, layer: int) -> nn.Module:
        """Return the module whose output is the residual stream after ``layer`` (0-based)."""
        return site_module(self.network, self._site, layer)

    def pool(self, hidden: Tensor, batch: TokenBatch) -> Tensor:
        """Return one embedding per sample, ``(n, d_model)``: the mean over its content tokens.

        An adapter may offer others; scFoundation's official one is ``4 * d_model`` wide.
        """
        weight = batch.content.unsqueeze(-1).to(hidden.dtype)  # (n, L, 1)
        return (hidden * weight).sum(1) / weight.sum(1).clamp(min=1)

    def expression(self, hidden: Tensor, batch: TokenBatch) -> Tensor:
        """Return what the model's own head predicts of every token, ``(n, L)``, where it `predicts` something."""
        raise NotImplementedError(f"{self.name} has no expression head")

    def logits(self, batch: TokenBatch, layer: int = -1, edit: Edit | None = None) -> Tensor:
        """Return what a head for masked tokens predicts of every content token, ``(n_tokens, n_vocabulary)``.

        The content tokens are edited after ``layer`` as in `embed`.
        """
        raise NotImplementedError(f"{self.name} has no head for masked tokens")

    # Final from here on.

    @property
    def device(self) -> torch.device:
        return next(self.network.parameters()).device

    def twin(self) -> ModelAdapter:
        """Return the model for another thread, with the same weights and hooks of its own."""
        shared = {id(tensor): tensor for tensor in chain(self.network.parameters(), self.network.buffers())}
        twin = copy.copy(self)
        twin.network = copy.deepcopy(self.network, shared)
        return twin

    def in_precision(self, precision: str) -> ModelAdapter:
        """Return the model with products in ``fp32`` or ``bf16``; norms, sums and results stay float32."""
        if check_choice("precision", precision, PRECISIONS) == self.precision:
            return self
        other = copy.copy(self)
        other.precision, other.fingerprint = precision, settings_hash({"of": self.fingerprint, "precision": precision})
        return other

    def layer_index(self, layer: int) -> int:
        """Return the layer counted from 0; negative numbers count from the last."""
        if not -self.n_layers <= layer < self.n_layers:
            message = f"{self.name} has layers 0 to {self.n_layers - 1} (or -{self.n_layers} to -1), got {layer}"
            raise SettingError(message)
        return layer % self.n_layers

    def batches(self, sequences: TokenSequences, samples: np.ndarray, tokens_per_batch: int) -> Iterator[TokenBatch]:
        """Yield batches of samples of similar length on the model's device, grouped as by `batched`."""
        for group in self.batched(sequences, samples, tokens_per_batch):
            yield pad_batch(sequences, group, self.pad_token).to(self.device)

    def batched(self, sequences: TokenSequences, samples: np.ndarray, tokens_per_batch: int) -> Iterator[np.ndarray]:
        """Yield the samples of each of the `batches`; see `length_buckets`.

        On a processor a batch holds at most ``CPU_TOKENS``, which stay in its cache.
        """
        budget = min(tokens_per_batch, CPU_TOKENS) if self.device.type == "cpu" else tokens_per_batch
        return length_buckets(sequences.lengths_of(samples), samples, budget)

    @torch.no_grad()
    def activations(self, batch: TokenBatch, layers: Sequence[int]) -> list[Tensor]:
        """Return the residual stream after each layer, ``(n_tokens, d_model)`` in ``batch.mask`` order.

        One pass serves all layers and ends at the deepest of them.
        """
        wanted = [self.layer_index(layer) for layer in layers]
        captured: dict[int, Tensor] = {}

        def keep(layer: int) -> Callable[[Tensor], None]:
            def hook(hidden: Tensor) -> None:
                captured[layer] = hidden
                if layer == max(wanted):
                    raise _StopForward

            return hook

        with _hooks([(self.site(layer), keep(layer)) for layer in set(wanted)]):
            with suppress(_StopForward):
                self._run(batch)
        return [captured[layer][batch.mask].float() for layer in wanted]

    @torch.no_grad()
    def embed(self, batch: TokenBatch, layer: int = -1, edit: Edit | None = None) -> Tensor:
        """Return sample embeddings, ``(n, d_model)``, with the content tokens edited after ``layer``.

        The one mechanism behind embedding recovery, ablation and steering; an edit that returns its
        input changes no bit. Special tokens are left as they are.
        """
        return self.pool(self._run_edited(batch, layer, edit), batch)

    @torch.no_grad()
    def predict(self, batch: TokenBatch, layer: int = -1, edit: Edit | None = None) -> Tensor:
        """Return the predicted expression of the content tokens, ``(n_tokens,)``, edited as in `embed`."""
        return self.expression(self._run_edited(batch, layer, edit), batch)[batch.content]

    def embed_each(self, batch: TokenBatch, layer: int, edits: Iterable[Edit]) -> list[Tensor]:
        """`embed` for several edits of one batch; layers below the edit run once.

        The outputs of the sites up to ``layer`` are kept for the call: ``layer + 1`` times the batch's hidden states.
        """
        return self._each(self.embed, batch, layer, edits)

    def predict_each(self, batch: TokenBatch, layer: int, edits: Iterable[Edit]) -> list[Tensor]:
        """`predict` for several edits of one batch, as `embed_each`."""
        return self._each(self.predict, batch, layer, edits)

    def spliced(self, sae: nn.Module, layer: int) -> AbstractContextManager[Spliced]:
        """Return a context with the model run through an SAE after ``layer``: gradients reach ``spliced.codes``."""
        return nullcontext(Spliced(self, sae, self.layer_index(layer)))

    def _each(self, read: Callable[..., Tensor], batch: TokenBatch, layer: int, edits: Iterable[Edit]) -> list[Tensor]:
        sites = []
        for lower in range(self.layer_index(layer) + 1):
            with suppress(SettingError):  # the site "norm" exists after the last layer only
                sites.append(self.site(lower))
        with _run_once(sites):
            return [read(batch, layer, edit) for edit in edits]

    def _run_edited(self, batch: TokenBatch, layer: int, edit: Edit | None) -> Tensor:
        """``(n, L, d_model)`` final hidden states with the content tokens edited after ``layer``."""
        if edit is None:
            return self._run(batch)

        def replace(hidden: Tensor) -> Tensor:
            edited = hidden.clone()
            with torch.autocast(hidden.device.type, enabled=False):  # edits are in float32
                edited[batch.content] = edit(hidden[batch.content].float()).to(hidden.dtype)
            return edited

        with _hooks([(self.site(self.layer_index(layer)), replace)]):
            return self._run(batch)

    def _run(self, batch: TokenBatch) -> Tensor:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            return self.run(batch)


class _StopForward(Exception):
    """Ends a forward pass once the deepest wanted layer has run."""


@contextmanager
def _hooks(sites: list[tuple[nn.Module, Callable[[Tensor], Tensor | None]]]) -> Iterator[None]:
    """Call functions with the outputs of modules until the block ends; a returned tensor replaces the output."""

    def forward_hook(function):
        def hook(module, args, output):
            if not isinstance(output, tuple):
                return function(output)
            changed = function(output[0])
            return None if changed is None else (changed, *output[1:])

        return hook

    handles = [module.register_forward_hook(forward_hook(function)) for module, function in sites]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _run_once(modules: Sequence[nn.Module]) -> Iterator[None]:
    """Let modules compute at their first call only and return that output at later ones, until the block ends."""

    def remembering(forward):
        outputs = []

        def remembered(*args, **kwargs):
            if not outputs:
                outputs.append(forward(*args, **kwargs))
            return outputs[0]

        return remembered

    with ExitStack() as stack:
        for module in modules:
            module.forward = remembering(module.forward)  # hides the class's method; deleting it brings that back
            stack.callback(delattr, module, "forward")
        yield
