"""The network of scGPT: gene and value embeddings, then post-norm blocks, without positions (Cui et al. 2024)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from biosae.ops.linear import Linear

from .transformer import PostNormBlock

BATCH_NORM_EPS = 6.1e-5
MAX_VALUE = 512  # larger input values are clamped, as in the official value encoder
RENAME = {
    r"^module\.": "",
    r"^encoder\.embedding\.": "gene_embedding.",
    r"^encoder\.enc_norm\.": "gene_norm.",
    r"^value_encoder\.linear1\.": "value_mlp.0.",
    r"^value_encoder\.linear2\.": "value_mlp.2.",
    r"^value_encoder\.norm\.": "value_norm.",
    r"^dsbn\.bns\.": "batch_norms.norms.",
    r"^bn\.": "batch_norms.norms.0.",
    r"^transformer_encoder\.layers\.": "layers.",
    # Three names of one matrix: torch's, flash-attention's, and that of the official wrapper around it.
    r"\.self_attn\.(_impl\.)?(in_proj_|Wqkv\.)": ".attention.qkv.",
    r"\.self_attn\.(_impl\.)?out_proj\.": ".attention.out.",
    r"\.linear1\.": ".mlp.0.",
    r"\.linear2\.": ".mlp.2.",
}
# Heads (`ExpressionHead` reads one of them); the flag of the generative variant and the batch label of the heads.
HEADS = r"(module\.)?(decoder|cls_decoder|mvc_decoder|grad_reverse_discriminator|flag_encoder|batch_encoder)\."
HEAD_RENAME = {
    r"^module\.": "",
    r"^decoder\.fc\.": "mlp.",
    r"^batch_encoder\.embedding\.": "batch_embedding.0.",
    r"^batch_encoder\.enc_norm\.": "batch_embedding.1.",
}
ALL_BUT_EXPRESSION = r"(?!(module\.)?(decoder\.fc|batch_encoder)\.)"


class BatchNorms(nn.Module):
    """One batch norm for each batch of the data that a model was fine-tuned on (Chang et al. 2019)."""

    def __init__(self, d_model: int, n_batches: int, affine: bool):
        super().__init__()
        self.norms = nn.ModuleList(nn.BatchNorm1d(d_model, eps=BATCH_NORM_EPS, affine=affine) for _ in range(n_batches))

    def forward(self, x: Tensor, batch_label: Tensor) -> Tensor:
        """``x`` ``(n, L, d_model)`` by the statistics of each sample's batch, ``batch_label`` ``(n,) int64``."""
        normed = torch.empty_like(x)
        for label, norm in enumerate(self.norms):
            own = batch_label == label
            normed[own] = norm(x[own].transpose(1, 2)).transpose(1, 2)
        return normed


class ScGPTNetwork(nn.Module):
    """Gene ids and binned values to hidden states; the order of tokens does not matter.

    Parameters
    ----------
    batch_norms
        Of a fine-tuned model, applied to the input sum.
    """

    def __init__(
        self,
        n_vocabulary: int,
        d_model: int,
        n_heads: int,
        d_mlp: int,
        n_layers: int,
        batch_norms: BatchNorms | None = None,
    ):
        super().__init__()
        self.gene_embedding = nn.Embedding(n_vocabulary, d_model)
        self.gene_norm = nn.LayerNorm(d_model)
        self.value_mlp = nn.Sequential(nn.Linear(1, d_model), nn.ReLU(), Linear(d_model, d_model))
        self.value_norm = nn.LayerNorm(d_model)
        self.batch_norms = batch_norms
        self.layers = nn.ModuleList(PostNormBlock(d_model, n_heads, d_mlp) for _ in range(n_layers))

    def embed_values(self, value: Tensor) -> Tensor:
        """``(n, L, d_model)`` from input values ``(n, L)``."""
        return self.value_norm(self.value_mlp(value.unsqueeze(-1).clamp(max=MAX_VALUE)))

    def forward(self, token: Tensor, value: Tensor, mask: Tensor | None, batch_label: Tensor | None = None) -> Tensor:
        x = self.gene_norm(self.gene_embedding(token)) + self.embed_values(value)
        if self.batch_norms is not None:
            x = self.batch_norms(x, batch_label)
        for layer in self.layers:
            x = layer(x, mask)
        return x


class ExpressionHead(nn.Module):
    """Predicted bins from the final hidden states, and from the batch's embedding where the model was trained so."""

    def __init__(self, d_model: int, n_batches: int):
        super().__init__()
        d_in = 2 * d_model if n_batches else d_model
        layers = (Linear(d_in, d_model), nn.LeakyReLU(), Linear(d_model, d_model), nn.LeakyReLU())
        self.mlp = nn.Sequential(*layers, nn.Linear(d_model, 1))
        self.batch_embedding = None
        if n_batches:
            self.batch_embedding = nn.Sequential(nn.Embedding(n_batches, d_model), nn.LayerNorm(d_model))

    def forward(self, hidden: Tensor, batch_label: Tensor | None) -> Tensor:
        """``(n, L)`` from ``(n, L, d_model)``."""
        if self.batch_embedding is not None:
            batch = self.batch_embedding(batch_label)[:, None].expand_as(hidden)
            hidden = torch.cat([hidden, batch], dim=-1)
        return self.mlp(hidden).squeeze(-1)
