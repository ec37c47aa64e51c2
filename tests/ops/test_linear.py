import pytest
import torch

from biosae.ops import linear as linear_module
from biosae.ops.linear import Linear, linear, onednn_is_faster


@pytest.mark.parametrize("shape", [(7, 40), (2, 5, 40), (0, 40)])
@pytest.mark.parametrize("has_bias", [True, False])
def test_equals_float64(by_onednn, shape, has_bias):
    x, weight, bias = torch.randn(shape), torch.randn(30, 40), torch.randn(30) if has_bias else None
    expected = torch.nn.functional.linear(x.double(), weight.double(), None if bias is None else bias.double())
    torch.testing.assert_close(linear(x, weight, bias).double(), expected, rtol=0, atol=1e-4)


def test_a_transposed_weight_and_rows_of_a_wider_matrix(by_onednn):
    x, weight, bias = torch.randn(9, 50)[:, :40], torch.randn(40, 30).t(), torch.randn(30)
    buffer = torch.empty(9, 30)
    expected = x.double() @ weight.double().t() + bias
    torch.testing.assert_close(linear(x, weight, bias, buffer).double(), expected, rtol=0, atol=1e-4)


def test_a_part_of_a_weight_stays_with_torch(by_onednn):
    """oneDNN takes a thousand times as long for rows that are apart in memory, and sums them in another order."""
    x, weight = torch.randn(200, 300), torch.randn(40, 400)[:, :300]
    assert torch.equal(linear(x, weight), torch.nn.functional.linear(x, weight))


@pytest.mark.parametrize(
    "wanted", [(True, True, True), (True, False, False), (False, True, False), (False, False, True)]
)
@pytest.mark.parametrize("shape", [(6, 40), (2, 3, 40)])
@pytest.mark.parametrize("reduce", [torch.sum, lambda y: y.pow(2).mean()], ids=["sum", "square"])
def test_gradients_equal_float64(by_onednn, reduce, shape, wanted):
    """Also of a sum, whose gradient is one number stretched over the result, and of a weight stored transposed."""
    given = torch.randn(shape), torch.randn(40, 30).t(), torch.randn(30)
    mine = [tensor.clone().requires_grad_(bool(is_wanted)) for tensor, is_wanted in zip(given, wanted, strict=True)]
    wide = [tensor.double().requires_grad_() for tensor in given]
    reduce(linear(*mine)).backward()
    reduce(torch.nn.functional.linear(*wide)).backward()
    for found, expected, is_wanted in zip(mine, wide, wanted, strict=True):
        assert (found.grad is not None) == bool(is_wanted)
        if is_wanted:
            torch.testing.assert_close(found.grad.double(), expected.grad, rtol=0, atol=1e-4)


def test_a_layer_is_torchs(by_onednn):
    layer, reference = Linear(40, 30), torch.nn.Linear(40, 30)
    reference.load_state_dict(layer.state_dict())
    x = torch.randn(6, 40)
    torch.testing.assert_close(layer(x), reference(x))


def test_other_types_and_autocast_stay_with_torch(by_onednn):
    x, weight, bias = torch.randn(6, 40), torch.randn(30, 40), torch.randn(30)
    assert linear(x.double(), weight.double(), bias.double()).dtype == torch.float64
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert linear(x, weight, bias).dtype == torch.bfloat16


def test_only_amd_processors_with_wide_vectors_prefer_onednn(monkeypatch):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: True)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    for processor, faster in (("vendor_id: AuthenticAMD", True), ("vendor_id: GenuineIntel", False)):
        monkeypatch.setattr(linear_module, "_processor", lambda text=processor: text)
        assert onednn_is_faster.__wrapped__() is (faster and linear_module._onednn_works())
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    monkeypatch.setattr(linear_module, "_processor", lambda: "vendor_id: AuthenticAMD")
    assert not onednn_is_faster.__wrapped__()


def test_torch_still_has_the_private_operator():
    """`torch.ops.mkldnn._linear_pointwise` promises nothing; without it products on AMD are up to 2.4 times slower."""
    if not torch.backends.mkldnn.is_available():
        pytest.skip("this build of torch has no oneDNN")
    assert linear_module._onednn_works(), "this torch dropped or changed it: give `linear._by_onednn` its successor"


@pytest.mark.parametrize("error", [AttributeError("no such operator"), RuntimeError("expected at most 5 arguments")])
def test_without_the_private_operator_products_stay_with_torch(error, monkeypatch, caplog):
    def missing(*_):
        raise error

    monkeypatch.setattr(linear_module, "_by_onednn", missing)
    assert not linear_module._onednn_works()
    assert str(error) in caplog.text
