"""Baselines of a comparison against scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA, FastICA
from sklearn.neighbors import NearestNeighbors

from biosae.activations.source import ArrayActivations
from biosae.training.baselines import baseline_table


@pytest.fixture(scope="module")
def parts():
    generator = np.random.default_rng(0)
    x = generator.exponential(size=(400, 6)) @ generator.normal(size=(6, 12)) + generator.normal(size=(400, 12)) + 100
    x = x.astype(np.float32).astype(np.float64)  # what the source hands on
    return {"train": x[:300], "test": x[300:]}


@pytest.fixture(scope="module")
def table(parts):
    sources = {name: ArrayActivations(torch.from_numpy(x)) for name, x in parts.items()}
    return baseline_table(sources, [3, 50], seed=0).set_index(["baseline", "split"])


def errors(x, reconstruction):
    error = ((x - reconstruction) ** 2).sum(1)
    return (error / (x**2).sum(1)).mean(), error.sum() / ((x - x.mean(0)) ** 2).sum()


def test_each_baseline_is_that_of_scikit_learn(parts, table):
    train, test = parts["train"], parts["test"]
    pca, ica = PCA(3).fit(train), FastICA(3, random_state=0, whiten="unit-variance").fit(train)
    nearest = NearestNeighbors(n_neighbors=1).fit(train).kneighbors(test, return_distance=False)[:, 0]
    expected = {
        "mean": np.broadcast_to(train.mean(0), test.shape),
        "nearest train token": train[nearest],
        "pca-3": pca.inverse_transform(pca.transform(test)),
    }
    for name, reconstruction in expected.items():
        found = table.loc[(name, "test"), ["nmse", "fvu"]].astype(float)
        assert found.tolist() == pytest.approx(errors(test, reconstruction), rel=1e-6), name
    rotated = errors(test, ica.inverse_transform(ica.transform(test)))
    assert table.loc[("pca-3", "test"), "nmse"] == pytest.approx(rotated[0], rel=1e-6)


def test_more_components_than_dimensions_reconstruct_exactly(table):
    assert table.loc[("pca-12", "test"), "nmse"] < 1e-20  # float64
    assert table.loc[("pca-12", "test"), "k"] == 12


def test_a_train_token_is_not_compared_with_itself(table):
    assert ("nearest train token", "train") not in table.index
    assert table.loc[("mean", "train"), "fvu"] == pytest.approx(1)
