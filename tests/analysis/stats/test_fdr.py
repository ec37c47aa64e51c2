import numpy as np
from scipy.stats import false_discovery_control

from biosae.analysis.stats.fdr import benjamini_hochberg


def test_q_values_equal_scipy(generator):
    p = generator.random((10, 5)) ** 2
    # The same products and divisions, in another order.
    np.testing.assert_allclose(
        benjamini_hochberg(p), false_discovery_control(p, axis=None).reshape(p.shape), rtol=1e-14
    )


def test_an_undefined_p_value_is_no_test(generator):
    p = generator.random(50) ** 2
    found = benjamini_hochberg(np.insert(p, [0, 20, 50], np.nan))
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(found)), [0, 21, 52])
    np.testing.assert_allclose(found[~np.isnan(found)], benjamini_hochberg(p), rtol=0)
    assert np.isnan(benjamini_hochberg(np.array([np.nan]))).all()
