"""Putting weights into networks."""

import pytest
import torch

from biosae.errors import ModelError
from biosae.models.weights import build_frozen, fuse_attention, load_weights, renamed


def test_networks_are_built_from_their_seed_and_leave_the_global_one_alone():
    before = torch.random.get_rng_state()
    first, same, other = (build_frozen(lambda: torch.nn.Linear(3, 3), seed) for seed in (0, 0, 1))
    assert torch.equal(first.weight, same.weight) and not torch.equal(first.weight, other.weight)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_names_are_changed_by_the_rules_and_heads_left_out():
    weights = {"encoder.a": 1, "encoder.b.c": 2, "head.d": 3, "other": 4}
    assert renamed(weights, {r"^encoder\.": "", r"b\.": "x."}, r"head\.") == {"a": 1, "x.c": 2, "other": 4}


def test_every_tensor_must_have_its_place():
    network = torch.nn.Linear(2, 3)
    weights = {"weight": torch.ones(3, 2), "bias": torch.zeros(3)}
    load_weights(network, weights, (), "false", "w.pt")
    assert torch.equal(network.weight, torch.ones(3, 2))
    for change, message in (
        ({"bias": None}, "1 tensors are missing, such as bias"),
        ({"scale": torch.ones(1)}, "1 tensors are unknown, such as scale"),
        ({"bias": torch.zeros(4)}, r"bias is \(4,\), expected \(3,\)"),
    ):
        changed = {name: tensor for name, tensor in (weights | change).items() if tensor is not None}
        with pytest.raises(ModelError, match=message):
            load_weights(network, changed, (), "false", "w.pt")


def test_query_key_and_value_are_stacked_layer_by_layer():
    weights = {f"layers.{n}.attention.{part}.bias": torch.full((2,), 10.0 * n + i)
               for n in range(2) for i, part in enumerate(("value", "query", "key"))}  # fmt: skip
    fused = fuse_attention(weights | {"norm.bias": torch.ones(1)})
    assert fused.keys() == {"layers.0.attention.qkv.bias", "layers.1.attention.qkv.bias", "norm.bias"}
    assert fused["layers.1.attention.qkv.bias"].tolist() == [11, 11, 12, 12, 10, 10]
    del weights["layers.1.attention.key.bias"]
    with pytest.raises(ModelError, match="lacks layers.1.attention.key.bias"):
        fuse_attention(weights)
