"""SAEs of ours in the files of other libraries: the same codes, there and back."""

import pytest
import torch

from biosae.errors import SettingError
from biosae.saes import interop
from biosae.saes.build import VARIANTS, build
from biosae.saes.exports import SELECTIONS

HYPERPARAMS = {
    "standard": {"l1_coefficient": 0.1},
    "panneal": {"sparsity_coefficient": 0.1},
    "topk": {"k": 3},
    "gumbeltopk": {"k": 3},
    "batchtopk": {"k": 3},
    "matryoshka": {"k": 3},
    "jumprelu": {"target_l0": 3},
    "gated": {"l1_coefficient": 0.1},
    "gatedanneal": {"sparsity_coefficient": 0.1},
}
READERS = {"saelens": interop.from_saelens, "dictionary_learning": interop.from_dictionary_learning}


@pytest.fixture
def x():
    return 3 * torch.randn(40, 8, generator=torch.Generator().manual_seed(0)) + 2


def trained(variant, x):
    """An SAE whose every parameter is away from where it starts."""
    sae = build(variant, 8, 24, HYPERPARAMS[variant])
    sae.fit_normaliser(x)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in sae.parameters():
            parameter.add_(0.05 * torch.rand(parameter.shape, generator=generator))
        sae.normalize_decoder()
        if hasattr(sae, "threshold") and isinstance(sae.threshold, torch.nn.Module):
            sae.threshold.update(sae.select_for_training(sae._pre(sae.normalise(x))), 10)
    return sae.eval()


def test_every_variant_of_ours_has_a_counterpart():
    assert {VARIANTS.get(name).__name__ for name in HYPERPARAMS} == set(SELECTIONS)


@pytest.mark.parametrize("library", READERS)
@pytest.mark.parametrize("variant", HYPERPARAMS)
def test_codes_and_reconstructions_are_the_same(variant, library, x, tmp_path):
    sae = trained(variant, x)
    back = READERS[library](sae.export(library, tmp_path / "there"))
    codes, folded = back.encode(x).dense(), sae.fold().encode(x).dense()
    assert (folded > 0).any()
    torch.testing.assert_close(codes, folded, rtol=1e-4, atol=1e-4)  # float32 sums in another order
    torch.testing.assert_close(back.decode(codes), sae(x), rtol=1e-4, atol=1e-3)


def test_what_has_no_counterpart_is_refused(x, tmp_path):
    sae = trained("topk", x)
    with pytest.raises(SettingError, match="library must be saelens or dictionary_learning"):
        sae.export("sparsify", tmp_path / "there")
    sae.__class__ = type("Mine", (type(sae),), {})
    with pytest.raises(SettingError, match="Mine has no counterpart"):
        sae.export("saelens", tmp_path / "there")
    assert not (tmp_path / "there").exists()
