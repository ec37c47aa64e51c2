"""Transformer blocks: one fused projection, exact attention, no dropout."""

from __future__ import annotations

from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from biosae.errors import ModelError, SettingError
from biosae.ops.linear import Linear, linear, onednn_takes

from .tokens import TokenBatch

Rotation = tuple[Tensor, Tensor]
"""Cosines and sines of the rotary angles, each ``(L, d_head)``."""

LONG = 256
"""Tokens from which oneDNN, head by head, is faster than torch's attention, whose products are MKL's."""

CACHED_SCORES = 1 << 19
"""Scores of a block of queries: 2 MB."""


class SelfAttention(nn.Module):
    """Softmax attention scaled by ``d_head ** -0.5``; rows of ``qkv`` are queries, keys, values, heads contiguous."""

    def __init__(self, d_model: int, n_heads: int):
        super().__init__()
        if d_model % n_heads:
            raise ModelError(f"a width of {d_model} does not divide into {n_heads} heads; check the model's config")
        self.n_heads = n_heads
        self.qkv = Linear(d_model, 3 * d_model)
        self.out = Linear(d_model, d_model)

    def forward(self, x: Tensor, mask: Tensor | None, rotation: Rotation | None = None) -> Tensor:
        query, key, value = self.qkv(x).unflatten(-1, (3, self.n_heads, -1)).permute(2, 0, 3, 1, 4)
        if rotation is not None:
            query, key = rotate(query, rotation), rotate(key, rotation)
        return self.out(attention(query, key, value, mask).flatten(2))


class PostNormBlock(nn.Module):
    """The block of Vaswani et al. (2017): a layer norm after each residual sum, ReLU in between."""

    def __init__(self, d_model: int, n_heads: int, d_mlp: int, eps: float = 1e-5):
        super().__init__()
        self.attention = SelfAttention(d_model, n_heads)
        self.norm1 = nn.LayerNorm(d_model, eps)
        self.mlp = nn.Sequential(Linear(d_model, d_mlp), nn.ReLU(inplace=True), Linear(d_mlp, d_model))
        self.norm2 = nn.LayerNorm(d_model, eps)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        x = self.norm1(x + self.attention(x, mask))
        return self.norm2(x + self.mlp(x))


class PreNormBlock(nn.Module):
    """A block that normalises what attention and MLP read and leaves the residual stream as it is; GELU."""

    def __init__(self, d_model: int, n_heads: int, d_mlp: int):
        super().__init__()
        self.norm1 = nn.LayerNorm(d_model)
        self.attention = SelfAttention(d_model, n_heads)
        self.norm2 = nn.LayerNorm(d_model)
        self.mlp = nn.Sequential(Linear(d_model, d_mlp), nn.GELU(), Linear(d_mlp, d_model))

    def forward(self, x: Tensor, mask: Tensor | None, rotation: Rotation | None = None) -> Tensor:
        x = x + self.attention(self.norm1(x), mask, rotation)
        return x + self.mlp(self.norm2(x))


def attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    """Return ``(n, L, n_heads, d_head)`` values mixed by scaled softmax, from ``(n, n_heads, L, d_head)``."""
    if query.shape[2] >= LONG and onednn_takes(query) and not query.requires_grad:
        return _attention_by_heads(query, key, value, mask)
    # Contiguous heads: the copy costs a few per cent of what it saves in attention on the processor.
    query, key, value = query.contiguous(), key.contiguous(), value.contiguous()
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask).transpose(1, 2)


def _attention_by_heads(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    """Compute `attention` by `linear`, in blocks of queries whose scores stay in the cache."""
    n_samples, n_heads, length, d_head = query.shape
    mixed = query.new_empty(n_samples, length, n_heads, d_head)
    n_rows = max(128, CACHED_SCORES // length)
    for sample, head in product(range(n_samples), range(n_heads)):
        real = slice(None) if mask is None else mask[sample, 0, 0]
        keys = key[sample, head, real] * d_head**-0.5
        values = value[sample, head, real].contiguous().t()
        for first in range(0, length, n_rows):
            scores = linear(query[sample, head, first : first + n_rows], keys)
            mixed[sample, first : first + n_rows, head] = linear(scores.softmax(-1), values)
    return mixed


def normal_init(module: nn.Module) -> None:
    """Initialise as BERT does: normal weights of standard deviation 0.02, no bias."""
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)


def key_mask(batch: TokenBatch) -> Tensor | None:
    """Return the keys that attention may read, ``(n, 1, 1, L) bool``; None when nothing is padded, which is faster."""
    return None if batch.mask.all() else batch.mask[:, None, None, :]


def site_module(network: nn.Module, site: str, layer: int) -> nn.Module:
    """Return the module that is read at a layer: the block (``residual``), its ``mlp``, or the final ``norm``."""
    if site != "norm":
        block = network.layers[layer]
        return block.mlp if site == "mlp" else block
    last = len(network.layers) - 1
    if layer != last:
        raise SettingError(f"site norm is after the last layer, {last}; got layer {layer}", argument="model.site")
    return network.norm


def rotary_angles(length: int, inv_freq: Tensor) -> Rotation:
    """Return cosines and sines of positions 0 to ``length - 1`` (Su et al. 2021); ``inv_freq`` has ``d_head / 2``."""
    angles = torch.arange(length, device=inv_freq.device, dtype=inv_freq.dtype)[:, None] * inv_freq
    angles = torch.cat([angles, angles], dim=-1)  # (L, d_head)
    return angles.cos(), angles.sin()


def rotate(x: Tensor, rotation: Rotation) -> Tensor:
    """Rotate queries or keys ``(n, h, L, d_head)`` by the angle of their position."""
    cos, sin = rotation
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat([-second, first], dim=-1) * sin
