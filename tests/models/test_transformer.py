"""Blocks against torch's own layers."""

import numpy as np
import pytest
import torch
from torch import nn

from biosae.models.tokens import TokenBatch
from biosae.models.transformer import LONG, PostNormBlock, PreNormBlock, attention, key_mask, rotary_angles, rotate

CLOSE = {"atol": 1e-5, "rtol": 1e-5}  # float32 sums in another order


def torch_twin(block, norm_first, activation):
    """Torch's layer with the block's weights."""
    d = block.norm1.normalized_shape[0]
    layer = nn.TransformerEncoderLayer(d, 4, 24, 0.0, activation, batch_first=True, norm_first=norm_first).eval()
    pairs = [(layer.self_attn.out_proj, block.attention.out), (layer.linear1, block.mlp[0])]
    pairs += [(layer.linear2, block.mlp[2]), (layer.norm1, block.norm1), (layer.norm2, block.norm2)]
    for theirs, ours in pairs:
        theirs.load_state_dict(ours.state_dict())
    layer.self_attn.in_proj_weight, layer.self_attn.in_proj_bias = block.attention.qkv.weight, block.attention.qkv.bias
    return layer


def test_blocks_are_those_of_torch_on_real_tokens():
    torch.manual_seed(0)
    x, mask = torch.randn(3, 7, 16), torch.arange(7) < torch.tensor([7, 4, 1])[:, None]
    for kind, norm_first, activation in ((PostNormBlock, False, "relu"), (PreNormBlock, True, "gelu")):
        block = kind(16, 4, 24)
        ours = block(x, mask[:, None, None, :])
        theirs = torch_twin(block, norm_first, activation)(x, src_key_padding_mask=~mask)
        torch.testing.assert_close(ours[mask], theirs[mask], **CLOSE)


@pytest.mark.parametrize("length", [LONG - 1, LONG, 1030])
@pytest.mark.parametrize("is_padded", [True, False])
def test_attention_over_sequences_of_any_length(by_onednn, length, is_padded):
    query, key, value = torch.randn(3, 2, 4, length, 16)
    mask = torch.arange(length) < torch.tensor([length, length // 3])[:, None] if is_padded else None
    keys = None if mask is None else mask[:, None, None, :]
    exact = nn.functional.scaled_dot_product_attention(query.double(), key.double(), value.double(), keys)
    torch.testing.assert_close(attention(query, key, value, keys), exact.transpose(1, 2).float(), **CLOSE)


def test_gradients_flow_through_long_sequences(by_onednn):
    x = torch.randn(1, LONG, 8, requires_grad=True)
    PreNormBlock(8, 2, 8)(x, None).sum().backward()
    assert x.grad.abs().min() > 0


def test_full_batches_need_no_mask():
    mask = torch.ones(2, 3, dtype=torch.bool)
    batch = TokenBatch(mask.long(), mask.float(), mask, ~mask, torch.arange(2))
    assert key_mask(batch) is None
    mask[1, 2] = False
    assert key_mask(batch).tolist() == [[[[True] * 3]], [[[True, True, False]]]]


def test_rotated_products_depend_on_the_distance_only():
    torch.manual_seed(0)
    inv_freq = 1 / 10_000 ** (torch.arange(0, 8, 2) / 8)
    query, key = torch.randn(8), torch.randn(8)
    rotation = rotary_angles(10, inv_freq)
    rows = lambda x: rotate(x.expand(1, 1, 10, 8), rotation)[0, 0]  # noqa: E731
    product = (rows(query) @ rows(key).T).numpy()  # (10, 10)
    for distance in range(-9, 10):
        np.testing.assert_allclose(np.diagonal(product, distance), np.diagonal(product, distance)[0], atol=1e-5)
    np.testing.assert_allclose(product[0, 0], query @ key, rtol=1e-5)
