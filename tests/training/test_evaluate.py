from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import r2_score

from biosae.activations.source import ArrayActivations
from biosae.saes.variants.topk import TopK
from biosae.training.evaluate import evaluate, evaluate_each


@pytest.fixture
def fitted(source):
    sae = TopK(16, 32, k=3)
    sae.fit_normaliser(source.values)
    return sae


def test_mean_predictor_has_fvu_one(fitted, source):
    """Measured around one number for all dimensions, or around 0, the mean predictor would look good."""
    torch.nn.init.zeros_(fitted.W_dec)
    metrics = evaluate(fitted, source, 300)
    # The centre is kept in float32.
    assert metrics["fvu"] == pytest.approx(1, abs=1e-6)


def test_identity_has_fvu_zero(source):
    """Features +e_i and -e_i with all positive ones kept reproduce any input."""
    sae = TopK(16, 32, k=32)
    sae.fit_normaliser(source.values)
    with torch.no_grad():
        sae.W_dec.copy_(torch.cat([torch.eye(16), -torch.eye(16)]))
        sae.W_enc.copy_(sae.W_dec.t())
    metrics = evaluate(sae, source, 300)
    assert metrics["fvu"] == pytest.approx(0, abs=1e-12)
    assert metrics["nmse"] == pytest.approx(0, abs=1e-12)
    assert metrics["cosine"] == pytest.approx(1, abs=1e-6)
    assert metrics["relative_reconstruction_bias"] == pytest.approx(1, abs=1e-6)
    assert metrics["l0"] == pytest.approx(16)
    assert metrics["n_tokens"] == 2000


def test_halved_reconstruction_shows_as_shrinkage(source):
    sae = TopK(16, 32, k=32)
    sae.fit_normaliser(source.values)
    with torch.no_grad():
        sae.W_dec.copy_(0.5 * torch.cat([torch.eye(16), -torch.eye(16)]))
        sae.W_enc.copy_(2 * sae.W_dec.t())
    metrics = evaluate(sae, source, 300)
    assert metrics["relative_reconstruction_bias"] == pytest.approx(0.5, abs=1e-6)
    assert metrics["fvu"] == pytest.approx(0.25, abs=1e-5)


def test_numbers_agree_with_sklearn_and_numpy(fitted, validation):
    x = validation.values.numpy().astype(np.float64)
    out = fitted(validation.values).numpy().astype(np.float64)
    codes = fitted.encode(validation.values).dense().numpy()
    norms = np.linalg.norm(x, axis=1) * np.linalg.norm(out, axis=1)
    expected = {
        "fvu": 1 - r2_score(x, out, multioutput="variance_weighted"),
        "nmse": (((x - out) ** 2).sum(1) / (x**2).sum(1)).mean(),
        "cosine": ((x * out).sum(1) / norms).mean(),
        "l0": (codes > 0).sum(1).mean(),
        "dead_fraction": (codes.max(0) == 0).mean(),
        "n_tokens": 500,
    }
    metrics = evaluate(fitted, validation, 64)
    # Same float32 reconstructions, other batch: rounding of a 16-term product.
    assert {name: metrics[name] for name in expected} == pytest.approx(expected, rel=1e-5)


def test_batches_do_not_change_the_numbers(fitted, validation):
    """A mean of the ratios of batches depends on how samples fall into batches; a ratio of sums does not."""
    assert evaluate(fitted, validation, 7) == pytest.approx(evaluate(fitted, validation, 500), rel=1e-5)


def test_saes_evaluated_together_get_the_numbers_that_each_gets_alone(source, validation):
    saes = [TopK(16, 32, k=3), TopK(16, 48, k=5, seed=1)]
    for sae in saes:
        sae.fit_normaliser(source.values)
    assert evaluate_each(saes, validation, 100) == [evaluate(sae, validation, 100) for sae in saes]


def test_evaluation_changes_no_state(fitted, validation):
    """Evaluation that updates thresholds or dead-feature counters changes the model it measures."""
    before = {name: tensor.clone() for name, tensor in fitted.state_dict().items()}
    evaluate(fitted, validation, 100)
    assert all(torch.equal(tensor, before[name]) for name, tensor in fitted.state_dict().items())


def test_large_offsets_lose_no_precision(fitted, source):
    far = ArrayActivations(source.values.double() + 1e6)
    sae = TopK(16, 32, k=3)
    sae.fit_normaliser(far.values)
    torch.nn.init.zeros_(sae.W_dec)
    # float32 holds 1e6 to about 0.06; the data spread over about 9 a dimension.
    assert evaluate(sae, far, 300)["fvu"] == pytest.approx(1, abs=1e-2)
