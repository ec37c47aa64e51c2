import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import adjusted_mutual_info_score

from biosae.analysis.stats.mutual_information import adjusted_mutual_information


def table(on, member):
    return (on & member).sum(), on.sum(), member.sum(), len(on)


@settings(deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 60))
def test_ami_equals_sklearn(seed, n):
    generator = np.random.default_rng(seed)
    on, member = generator.random((2, n)) < generator.random((2, 1))
    found = adjusted_mutual_information(*table(on, member))
    # scikit-learn sums logarithms of factorials in another order, which leaves about 1e-9.
    np.testing.assert_allclose(found, adjusted_mutual_info_score(member, on), rtol=0, atol=1e-6)


@pytest.mark.parametrize("share", [0.01, 0.3, 0.9])
def test_ami_equals_sklearn_on_many_samples(share, generator):
    member = generator.random(3000) < 0.05
    on = generator.random(3000) < np.where(member, 0.5, share)
    found = adjusted_mutual_information(*table(on, member))
    np.testing.assert_allclose(found, adjusted_mutual_info_score(member, on), rtol=0, atol=1e-6)


def test_tables_are_scored_together_as_apart(generator):
    n_above, n_members = generator.integers(0, 50, (6, 1)), generator.integers(0, 50, (1, 4))
    n_hits = np.maximum(n_above + n_members - 50, 0) + 0
    together = adjusted_mutual_information(n_hits, n_above, n_members, 50)
    for i in range(6):
        for j in range(4):
            apart = adjusted_mutual_information(n_hits[i, j], n_above[i, 0], n_members[0, j], 50)
            np.testing.assert_allclose(together[i, j], apart, rtol=0, atol=1e-12)
