"""Gradients of a model's output to the codes of an SAE at a layer."""

import numpy as np
import pytest
import torch

import biosae as bs
from biosae.saes.build import build


@pytest.fixture(scope="module")
def model():
    return bs.load_model("geneformer-mini", device="cpu")


@pytest.fixture(scope="module")
def batch(model):
    acts = bs.tl.activations(bs.datasets.pbmc3k()[:6].copy(), model, layer=1, held_out=0.8)
    return next(model.batches(acts.prepared.sequences, np.arange(3), 4096))


@pytest.fixture(scope="module")
def sae(model, batch):
    (hidden,) = model.activations(batch, [1])
    sae = build("topk", 128, 256, {"k": 8})
    sae.fit_normaliser(hidden)
    return sae.eval()


def test_outputs_are_those_of_the_model(model, batch, sae):
    with model.spliced(sae, layer=1) as spliced:
        output = spliced(batch)
    torch.testing.assert_close(output.embedding.detach(), model.embed(batch), rtol=1e-4, atol=1e-4)
    assert output.hidden.shape[:2] == batch.mask.shape


def test_gradients_are_those_of_finite_differences(model, batch, sae):
    with model.spliced(sae, layer=1) as spliced:
        spliced(batch).embedding[:, 0].sum().backward()
    token, feature = (spliced.codes > 0).nonzero()[5].tolist()
    direction = (sae.input_scale * sae.W_dec[feature]).detach()

    def read(step):
        def edit(x):
            x = x.clone()
            x[token] += step * direction
            return x

        return model.embed(batch, 1, edit)[:, 0].double().sum().item()

    step = 0.05
    slope = (read(step) - read(-step)) / (2 * step)
    assert spliced.codes.grad[token, feature].item() == pytest.approx(slope, rel=0.05, abs=2e-4)  # float32 forward


def test_nothing_is_left_behind(model, batch, sae):
    before = model.embed(batch)
    with model.spliced(sae, layer=1) as spliced:
        spliced(batch)
    torch.testing.assert_close(model.embed(batch), before, rtol=0, atol=0)
    assert not any(module._forward_hooks for module in model.network.modules())
