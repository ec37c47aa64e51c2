import numpy as np
import pandas as pd
import pytest

from biosae.analysis.residues.shapes import AMINO_ACIDS, is_of_residues, shape_scores
from biosae.analysis.residues.windows import information, top_windows

from .test_score_residues import write_codes

N_PROTEINS, LENGTH = 8, 100


@pytest.fixture
def codes(tmp_path):
    """Eight proteins of a hundred residues; each feature is on in places that are one shape."""
    dense = np.zeros((N_PROTEINS, LENGTH, 9))
    at = np.arange(N_PROTEINS) * 7 + 20
    for protein, start in enumerate(at):
        dense[protein, start, 0] = 1  # point
        dense[protein, start : start + 6, 1] = 1  # motif
        dense[protein, start : start + 30, 2] = 1  # domain
        dense[protein, :95, 3] = 1  # whole chain
        dense[protein, 4::7, 4] = 1  # periodic
        dense[protein, :8, 5] = 1  # N-terminal
        dense[protein, -8:, 6] = 1  # C-terminal
    dense[:2, 10, 7] = 1  # in two proteins only
    dense[:, :, 0][dense[:, :, 0] == 0] = 0.1  # weak everywhere: under 0.15 of the largest
    sample = np.repeat(np.arange(N_PROTEINS), LENGTH)
    return write_codes(tmp_path, sample, np.arange(N_PROTEINS * LENGTH) % 3, dense.reshape(-1, 9))


def test_each_shape_is_told_from_the_others(codes):
    everything = np.ones(N_PROTEINS, dtype=bool)
    found = shape_scores(codes, everything, everything)
    kinds = ["point", "motif", "domain", "whole chain", "periodic", "N-terminal", "C-terminal", None, None]
    assert found["kind"].where(found["kind"].notna(), None).tolist() == kinds
    assert found["run_length"].tolist()[:3] == [1, 6, 30]
    assert found.loc[2, "coverage"] == pytest.approx(0.3)
    assert (found.loc[4, "period"], found.loc[4, "periodicity"]) == (7, 1)
    assert found["n_proteins"].tolist() == [8, 8, 8, 8, 8, 8, 8, 2, 0]
    assert found.loc[5, "n_terminal"] == 1


def test_only_tokens_that_are_amino_acids_have_shapes(codes):
    assert not is_of_residues(codes)
    codes.vocabulary = pd.DataFrame({"token": range(20), "name": sorted(AMINO_ACIDS)})
    assert is_of_residues(codes)


def test_windows_are_aligned_at_the_largest_code(tmp_path):
    dense = np.zeros((2, 5, 1))
    dense[0, 0], dense[0, 1], dense[1, 3] = 1, 2, 3
    codes = write_codes(tmp_path, np.repeat([0, 1], 5), np.array([0, 1, 2, 0, 1, 2, 2, 1, 0, 1]), dense.reshape(10, 1))
    # AGLAG and LLGAG, middle at the residue of the largest code
    assert top_windows(codes, 0, width=5) == ["LGAG-", "-AGLA"]
    assert top_windows(codes, 0, width=3, most=1) == ["GAG"]


def test_information_is_that_of_schneider_and_stephens():
    windows = ["AC", "AD"] * 50 + ["A-"] * 4
    found = information(windows)
    assert found.loc[0].sum() == pytest.approx(np.log2(20) - 19 / (2 * 104 * np.log(2)))
    assert found.loc[1].sum() == pytest.approx(np.log2(20) - 1 - 19 / (2 * 100 * np.log(2)))
    assert found.loc[1, "C"] == pytest.approx(found.loc[1, "D"])
    assert found.loc[1].drop(["C", "D"]).eq(0).all()
