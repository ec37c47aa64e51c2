"""The network of Geneformer: BERT with ReLU over genes in rank order (Devlin et al. 2019; Theodoris et al. 2023)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .transformer import PostNormBlock, normal_init

EPS = 1e-12
RENAME = {
    r"^bert\.": "",
    r"^embeddings\.word_embeddings\.": "gene_embedding.",
    r"^embeddings\.position_embeddings\.": "rank_embedding.",
    r"^embeddings\.token_type_embeddings\.": "type_embedding.",
    r"^embeddings\.LayerNorm\.": "embedding_norm.",
    r"^encoder\.layer\.": "layers.",
    r"\.attention\.self\.": ".attention.",
    r"\.attention\.output\.dense\.": ".attention.out.",
    r"\.attention\.output\.LayerNorm\.": ".norm1.",
    r"\.intermediate\.dense\.": ".mlp.0.",
    r"\.output\.dense\.": ".mlp.2.",
    r"\.output\.LayerNorm\.": ".norm2.",
}
# Heads of every kind, and what some files carry of the encoder without using it.
UNUSED = r"(?!bert\.)|bert\.(pooler\.|embeddings\.position_ids)"
EMBEDDINGS = ("gene_embedding.", "rank_embedding.", "type_embedding.", "embedding_norm.")


class GeneformerNetwork(nn.Module):
    """Gene ids in rank order to hidden states."""

    def __init__(self, n_vocabulary: int, n_positions: int, d_model: int, n_heads: int, d_mlp: int, n_layers: int):
        super().__init__()
        self.gene_embedding = nn.Embedding(n_vocabulary, d_model)
        self.rank_embedding = nn.Embedding(n_positions, d_model)
        self.type_embedding = nn.Embedding(2, d_model)
        self.embedding_norm = nn.LayerNorm(d_model, EPS)
        self.layers = nn.ModuleList(PostNormBlock(d_model, n_heads, d_mlp, EPS) for _ in range(n_layers))
        self.apply(normal_init)

    def forward(self, token: Tensor, mask: Tensor | None) -> Tensor:
        rank = torch.arange(token.shape[1], device=token.device)
        # Every token is of type 0, whose row was trained with the rest.
        x = self.gene_embedding(token) + self.rank_embedding(rank) + self.type_embedding.weight[0]
        x = self.embedding_norm(x)
        for layer in self.layers:
            x = layer(x, mask)
        return x
