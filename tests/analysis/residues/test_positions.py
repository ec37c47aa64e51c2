"""Windows of positions, by hand."""

import numpy as np

from biosae.analysis.residues.positions import position_windows, window_name


def test_windows_count_from_either_end_of_each_protein():
    sample = np.repeat([4, 9], [5, 3])
    windows = position_windows(sample).toarray()
    names = [window_name(n) for n in range(windows.shape[1])]
    inside = {name: np.flatnonzero(windows[:, n]).tolist() for n, name in enumerate(names)}
    assert len(inside) == windows.shape[1]
    assert inside["residue 2 from the start"] == [1, 6]
    assert inside["residues 2-4 from the start"] == [1, 2, 3, 6, 7]
    assert inside["residue 1 from the end"] == [4, 7]
    assert inside["residues 3-5 from the end"] == [0, 1, 2, 5]
