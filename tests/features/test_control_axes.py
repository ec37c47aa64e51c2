import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA, FastICA

from biosae.errors import DataError
from biosae.features.control_axes import AtL0, NmfAxes, fit_controls, pool_axes, rectified, some_tokens


@pytest.fixture
def x():
    generator = torch.Generator().manual_seed(0)
    return torch.rand(500, 6, generator=generator) @ torch.rand(6, 6, generator=generator) + 3


def test_every_control_keeps_k_features_or_fewer(x):
    for control in fit_controls(x, d_sae=20, k=3, seed=0).values():
        codes = control.encode(x)
        assert codes.d_sae == control.d_sae
        assert codes.l0().max() <= 3
        assert codes.dense().min() >= 0


def test_neurons_and_pca_read_what_they_say(x):
    controls = fit_controls(x, d_sae=20, k=12, seed=0)
    standardised = ((x - x.mean(0)) / x.std(0, unbiased=False)).numpy()
    codes = controls["neurons"].encode(x).dense().numpy()
    np.testing.assert_allclose(codes[:, :6] - codes[:, 6:], standardised, atol=1e-4)  # float32
    whitened = PCA(whiten=True).fit_transform(x.double().numpy())
    codes = controls["pca"].encode(x).dense().numpy()
    np.testing.assert_allclose(np.abs(codes[:, :6] - codes[:, 6:]), np.abs(whitened), atol=1e-3)


def test_ica_reads_the_sources(x):
    codes = fit_controls(x, d_sae=20, k=12, seed=0)["ica"].encode(x).dense().numpy()
    expected = FastICA(6, random_state=0, whiten="unit-variance").fit_transform((x - x.mean(0)).double().numpy())
    np.testing.assert_allclose(codes[:, :6] - codes[:, 6:], expected, atol=1e-3)


def test_nmf_mixtures_reconstruct_what_they_were_mixed_from():
    generator = torch.Generator().manual_seed(0)
    parts = torch.rand(3, 8, generator=generator)
    weights = torch.rand(40, 3, generator=generator)
    parts[:, 4:] = 0  # a positive mixture has no negative side
    x = (weights @ parts)[:, :4]
    codes = NmfAxes(torch.zeros(4), parts, k=3).encode(x).dense()
    assert (codes @ parts - rectified(x)).norm() < 0.05 * x.norm()  # fifty updates come this close


def test_rectified_neurons_are_the_positive_sides(x):
    controls = fit_controls(x, d_sae=20, k=12, seed=0)
    either, positive = (controls[name].encode(x).dense() for name in ("neurons", "rectified neurons"))
    torch.testing.assert_close(positive, either[:, :6])


def test_a_denser_encoder_is_cut_to_the_wanted_l0(x):
    encoder = fit_controls(x, d_sae=20, k=12, seed=0)["neurons"]  # six a token are above zero
    cut = AtL0.fitted(encoder, x, l0=2.5)
    codes, whole = cut.encode(x).dense(), encoder.encode(x).dense()
    assert (codes > 0).sum() == 2.5 * len(x)
    assert codes[codes > 0].min() > whole[(whole > 0) & (codes == 0)].max()
    assert AtL0.fitted(encoder, x, l0=7).threshold == 0  # nothing to cut


TRAIN = np.array([1, 2, 3, 5, 6])


def pooled_controls(store, k):
    return pool_axes(store, fit_controls(some_tokens(store, TRAIN, seed=0), d_sae=16, k=k, seed=0), batch_tokens=7)


def test_pooled_controls_line_up_with_the_samples(store):
    pooled = pooled_controls(store, k=3)
    assert set(pooled) == {"neurons", "rectified neurons", "pca", "ica", "random", "nmf"}
    for axes in pooled.values():
        assert axes.codes.shape == (store.n_samples, len(axes.frequency))
        assert (np.diff(axes.codes.indptr)[[0, 4, 11]] == 0).all()  # samples without tokens
        assert (np.diff(axes.codes.indptr)[[1, 2, 3, 5, 6, 7, 8, 9, 10]] > 0).all()
        assert 0 < axes.l0 <= 3
    assert pooled["random"].codes.shape[1] == 16 and pooled["neurons"].codes.shape[1] == 12
    assert pooled["neurons"].l0 == pytest.approx(3)  # of twelve sides six are above zero, three are kept


def test_the_largest_code_of_a_sample_is_kept(store):
    train = torch.from_numpy(TRAIN)
    pooled = pooled_controls(store, k=12)["neurons"]
    to_fit = [shard.values[torch.isin(shard.sample, train) & ~shard.special].float() for shard in store.shards()]
    neurons = fit_controls(torch.cat(to_fit), d_sae=16, k=12, seed=0)["neurons"]
    shard = next(store.shards())
    tokens = shard.values[(shard.sample == 2) & ~shard.special].float()
    expected = neurons.encode(tokens).dense().max(dim=0).values
    np.testing.assert_allclose(pooled.codes[2].toarray().ravel(), expected, rtol=1e-5)  # float32 matrix products


def test_without_tokens_there_is_nothing_to_fit(store):
    with pytest.raises(DataError, match="no tokens to fit the controls"):
        some_tokens(store, np.array([0, 4]), seed=0)
