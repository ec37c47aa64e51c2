"""The network of ESM-2: pre-norm blocks with rotary positions (Lin et al. 2023)."""

from __future__ import annotations

import re

import torch
from torch import Tensor, nn

from biosae.errors import ModelError

from .checkpoints import Weights
from .transformer import PreNormBlock, normal_init, rotary_angles
from .weights import fuse_attention, renamed

MASKED_IN_TRAINING = 0.15 * 0.8  # share of residues that read <mask>; the rest were scaled up in its place
# Names of Hugging Face files and of fair-esm files; both become ours.
RENAME = {
    r"^(esm\.|encoder\.sentence_encoder\.|encoder\.(?=embed_tokens|layers))": "",
    r"^(embeddings\.word_embeddings|embed_tokens)\.": "embedding.",
    r"^(encoder\.)?emb_layer_norm_after\.": "norm.",
    r"^encoder\.layer\.": "layers.",
    r"\.attention\.self\.(query|key|value)\.": r".attention.\1.",
    r"\.self_attn\.q_proj\.": ".attention.query.",
    r"\.self_attn\.k_proj\.": ".attention.key.",
    r"\.self_attn\.v_proj\.": ".attention.value.",
    r"\.(attention\.output\.dense|self_attn\.out_proj)\.": ".attention.out.",
    r"\.(attention\.self\.rotary_embeddings|self_attn\.rot_emb)\.inv_freq": ".inv_freq",
    r"^rotary_embeddings\.": "",
    r"\.(attention\.LayerNorm|self_attn_layer_norm)\.": ".norm1.",
    r"\.(LayerNorm|final_layer_norm)\.": ".norm2.",
    r"\.(intermediate\.dense|fc1)\.": ".mlp.0.",
    r"\.(output\.dense|fc2)\.": ".mlp.2.",
}
HEAD = re.compile(r"(esm\.)?(encoder\.)?lm_head\.")

# Heads, and positions that a rotary model does not read.
UNUSED = r"(esm\.)?(encoder\.)?(lm_head|contact_head|pooler|embeddings\.position_(embeddings|ids))"


class ESM2Network(nn.Module):
    """Residue ids to hidden states after the last norm.

    Parameters
    ----------
    mask_id
        Token whose embedding is zero and whose share scales the others; None for models without
        token dropout.
    """

    def __init__(self, n_vocabulary: int, d_model: int, n_heads: int, d_mlp: int, n_layers: int, mask_id: int | None):
        super().__init__()
        self.mask_id = mask_id
        self.embedding = nn.Embedding(n_vocabulary, d_model)
        self.layers = nn.ModuleList(PreNormBlock(d_model, n_heads, d_mlp) for _ in range(n_layers))
        self.norm = nn.LayerNorm(d_model)
        d_head = d_model // n_heads
        self.register_buffer("inv_freq", 1 / 10_000 ** (torch.arange(0, d_head, 2).float() / d_head))
        self.apply(normal_init)

    def embed(self, token: Tensor, real: Tensor) -> Tensor:
        """``(n, L, d_model)``; padding is zero."""
        x = self.embedding(token)
        if self.mask_id is not None:
            masked = token == self.mask_id
            share = masked.sum(1) / real.sum(1)  # (n,)
            x = x.masked_fill(masked.unsqueeze(-1), 0) * ((1 - MASKED_IN_TRAINING) / (1 - share))[:, None, None]
        return x * real.unsqueeze(-1)

    def forward(self, token: Tensor, real: Tensor, mask: Tensor | None) -> Tensor:
        """``real`` ``(n, L) bool`` is true for tokens that are not padding; ``mask`` is the mask of attention."""
        rotation = rotary_angles(token.shape[1], self.inv_freq)
        x = self.embed(token, real)
        for layer in self.layers:
            x = layer(x, mask, rotation)
        return self.norm(x)


class MaskedHead(nn.Module):
    """The head that ESM-2 was trained with, whose decoder is the embedding: hidden states to logits."""

    def __init__(self, embedding: nn.Embedding):
        super().__init__()
        n_vocabulary, d_model = embedding.weight.shape
        self.dense, self.layer_norm = nn.Linear(d_model, d_model), nn.LayerNorm(d_model)
        self.decoder = nn.Linear(d_model, n_vocabulary)
        self.decoder.weight = embedding.weight

    def forward(self, hidden: Tensor) -> Tensor:
        return self.decoder(self.layer_norm(nn.functional.gelu(self.dense(hidden))))


def masked_head(weights: Weights, embedding: nn.Embedding) -> MaskedHead | None:
    """Return the head of a checkpoint, or None where it has none."""
    own = {HEAD.sub("", name): weight for name, weight in weights.items() if HEAD.match(name)}
    if not {"dense.weight", "layer_norm.weight", "bias"} <= set(own):
        return None
    head = MaskedHead(embedding)
    kept = {name: own[name] for name in ("dense.weight", "dense.bias", "layer_norm.weight", "layer_norm.bias")}
    with torch.no_grad():
        for name, weight in (kept | {"decoder.bias": own["bias"]}).items():
            head.get_parameter(name).copy_(weight)
    return head.eval()


def network_weights(weights: Weights) -> Weights:
    """Return a checkpoint's tensors under our names, query, key and value in one.

    The stored rotary frequencies are kept: published ones were rounded to half precision, and
    recomputing them changes the states visibly. All layers must agree on them.
    """
    fused = fuse_attention(renamed(weights, RENAME, without=UNUSED))
    of_layers = [fused.pop(name) for name in list(fused) if name.endswith(".inv_freq")]
    if any(not torch.equal(frequencies, of_layers[0]) for frequencies in of_layers):
        raise ModelError("the layers of this checkpoint have different rotary frequencies; it is not an ESM-2")
    return fused | ({"inv_freq": of_layers[0]} if of_layers else {})
