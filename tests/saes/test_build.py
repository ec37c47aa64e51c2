from __future__ import annotations

import pytest

from biosae.errors import SettingError
from biosae.saes.build import build

TOPK = "topk"


def test_builds_what_was_named():
    sae = build(TOPK, 8, 24, {"k": 3}, seed=5)
    expected = {"d_in": 8, "d_sae": 24, "k": 3, "auxk_coefficient": 1 / 32, "seed": 5}
    assert {name: sae.config()[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("hyperparams", "message"),
    [
        ({"k": 3, "auxk_coeficient": 1}, "did you mean auxk_coefficient"),
        ({"k": 3, "zzz": 1}, "there are k, auxk_coefficient"),
        ({"k": 3, "seed": 1}, "no hyperparameter seed"),
        ({}, "needs the hyperparameter k"),
        ({"k": 25}, "between 1 and d_sae=24, got 25"),
        ({"k": 0}, "between 1 and d_sae=24, got 0"),
        ({"k": 2.5}, "whole number"),
        ({"k": 3, "auxk_coefficient": -1.0}, "auxk_coefficient must be at least 0"),
        ({"k": 3, "auxk_coefficient": float("nan")}, "auxk_coefficient must be at least 0"),
    ],
)
def test_bad_hyperparameters_are_one_clear_line(hyperparams, message):
    with pytest.raises(SettingError, match=message) as caught:
        build(TOPK, 8, 24, hyperparams)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("variant", "hyperparams", "message"),
    [
        ("batchtopk", {"k": 25}, "k must be a whole number between 1 and d_sae=24, got 25"),
        ("gumbeltopk", {"k": 25}, "k must be a whole number between 1 and d_sae=24, got 25"),
        ("matryoshka", {"k": 25, "group_fractions": [1.0]}, "between 1 and d_sae=24, got 25"),
        ("jumprelu", {"target_l0": 25}, "target_l0 must be above 0 and at most 24, got 25"),
        ("jumprelu", {"target_l0": 3, "sparsity_coefficient": -1}, "must be at least 0, got -1"),
        ("jumprelu", {"target_l0": 3, "penalty": "l1"}, "penalty must be step or tanh, got l1"),
        ("standard", {"l1_coefficient": -1}, "l1_coefficient must be at least 0, got -1"),
        ("standard", {"l1_coefficient": float("inf")}, "at least 0 and finite, got inf"),
        ("gated", {"l1_coefficient": -1}, "l1_coefficient must be at least 0, got -1"),
        ("panneal", {"sparsity_coefficient": -1}, "sparsity_coefficient must be at least 0, got -1"),
        ("gatedanneal", {"sparsity_coefficient": -1}, "sparsity_coefficient must be at least 0, got -1"),
        ("panneal", {"sparsity_coefficient": 1, "p_end": 0}, "p_end must be above 0 and at most 1, got 0"),
        ("gatedanneal", {"sparsity_coefficient": 1, "p_end": -0.2}, "p_end must be above 0"),
        ("panneal", {"sparsity_coefficient": 1, "p_end": float("nan")}, "p_end must be above 0"),
    ],
)
def test_bad_settings_of_every_variant_are_one_clear_line(variant, hyperparams, message):
    """A power of 0 divides by zero or has no gradient."""
    with pytest.raises(SettingError, match=message) as caught:
        build(variant, 8, 24, hyperparams)
    assert "\n" not in str(caught.value)
    assert caught.value.argument in hyperparams and caught.value.argument in str(caught.value)


def test_half_a_feature_is_refused():
    with pytest.raises(SettingError, match="d_sae must be a whole number, got 12.5"):
        build(TOPK, 8, 12.5, {"k": 1})


@pytest.mark.parametrize(("d_in", "d_sae", "name"), [(0, 8, "d_in"), (8, 0, "d_sae")])
def test_empty_sizes_are_refused(d_in, d_sae, name):
    with pytest.raises(SettingError, match=f"{name} must be at least 1"):
        build(TOPK, d_in, d_sae, {"k": 1})


@pytest.mark.parametrize(
    "target",
    ["os.system", "biosae.saes.variants.topk.Missing", "biosae.saes.nowhere.TopK", "biosae.saes.base.SAE",
     "biosae.saes.variants.topk.checked_k", "biosae.saes.files.torch.nn.Linear", "TopK"],
)  # fmt: skip
def test_only_variants_of_this_package_are_built(target):
    with pytest.raises(SettingError):
        build(target, 8, 24, {"k": 3})


@pytest.mark.parametrize("k", [None, "abc"])
def test_what_is_no_number_is_named(k):
    with pytest.raises(SettingError, match=f"k must be a number, got {k}"):
        build(TOPK, 8, 24, {"k": k})
