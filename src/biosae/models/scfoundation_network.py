"""The encoder of scFoundation: auto-discretised values, gene embeddings, post-norm blocks (Hao et al. 2024)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .transformer import PostNormBlock

RENAME = {
    r"^model\.": "",
    r"^pos_emb\.": "gene_embedding.",
    r"^token_emb\.mlp\.": "value_embedding.to_bins.",
    r"^token_emb\.mlp2\.": "value_embedding.mix.",
    r"^token_emb\.emb\.": "value_embedding.bins.",
    r"^encoder\.transformer_encoder\.": "layers.",
    r"^encoder\.norm\.": "norm.",
    r"\.self_attn\.in_proj_": ".attention.qkv.",
    r"\.self_attn\.out_proj\.": ".attention.out.",
    r"\.linear1\.": ".mlp.0.",
    r"\.linear2\.": ".mlp.2.",
}
# The decoder, and the embeddings of masked and padded values, which activations never read.
DECODER = r"model\.(decoder|decoder_embed|norm|to_final|token_emb\.emb_mask|token_emb\.emb_pad)\."


class ValueEmbedding(nn.Module):
    """An expression value as a soft mixture of bin embeddings."""

    def __init__(self, n_bins: int, alpha: float, d_model: int):
        super().__init__()
        self.alpha = alpha
        self.to_bins = nn.Linear(1, n_bins)
        self.mix = nn.Linear(n_bins, n_bins)
        self.bins = nn.Embedding(n_bins, d_model)

    def weights(self, value: Tensor) -> Tensor:
        """``(..., n_bins)`` shares of the bins, which add up to 1, from values ``(...)``."""
        h = F.leaky_relu(self.to_bins(value.unsqueeze(-1)), 0.1)
        return torch.softmax(self.alpha * h + self.mix(h), dim=-1)

    def forward(self, value: Tensor) -> Tensor:
        return self.weights(value) @ self.bins.weight


class ScFoundationNetwork(nn.Module):
    """Gene ids and values to hidden states after the last norm; the order of tokens does not matter."""

    def __init__(self, n_vocabulary: int, d_model: int, n_heads: int, n_layers: int, n_bins: int, alpha: float):
        super().__init__()
        self.value_embedding = ValueEmbedding(n_bins, alpha, d_model)
        self.gene_embedding = nn.Embedding(n_vocabulary, d_model)
        self.layers = nn.ModuleList(PostNormBlock(d_model, n_heads, 4 * d_model) for _ in range(n_layers))
        self.norm = nn.LayerNorm(d_model)

    def forward(self, token: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        x = self.value_embedding(value) + self.gene_embedding(token)
        for layer in self.layers:
            x = layer(x, mask)
        return self.norm(x)
