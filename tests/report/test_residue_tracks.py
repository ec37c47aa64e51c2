import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from biosae.analysis.residues.residue_codes import ResidueTracks
from biosae.features.token_codes import TokenCodesShard
from biosae.report.residue_tracks import tracks_of_features


@pytest.fixture
def tracks():
    """Three proteins of 2, 3 and 4 residues in two shards, and two features."""
    generator = np.random.default_rng(0)
    codes = np.round(generator.random((9, 2)) * (generator.random((9, 2)) < 0.6), 2)
    codes[3] = [0, 5]
    sample, token = np.repeat([0, 1, 2], [2, 3, 4]), np.array([0, 1, 2, 0, 1, 2, 2, 1, 0])
    shards = []
    for rows in (slice(0, 5), slice(5, 9)):
        part = sparse.csc_matrix(codes[rows].astype(np.float32))
        values = (sample[rows], token[rows], np.zeros(9, np.float32)[rows])
        shards.append(TokenCodesShard(*values, part.indptr, part.indices, part.data))
    spans = pd.DataFrame({"sample": [1, 2], "start": [1, 2], "end": [3, 4], "concept": ["<b>", "D"]})
    return ResidueTracks(shards, np.array(list("AGL"), dtype=object), 3, spans), codes, sample


def test_codes_stand_at_their_residues(tracks):
    tracks, codes, sample = tracks
    for feature in range(2):
        for protein in range(3):
            expected = codes[sample == protein, feature]
            np.testing.assert_allclose(tracks.codes(feature, protein), expected, rtol=1e-6)


def test_the_strongest_proteins_come_first_with_letters_and_spans(tracks):
    tracks, codes, sample = tracks
    largest = np.array([codes[sample == protein].max(0) for protein in range(3)])
    block = [(np.flatnonzero(column), column[column > 0]) for column in largest.T]
    content = tracks_of_features(tracks, block, 0)
    bounds, ends = content["offsets"].values, content["ends"].values
    order, level = content["sample"].values, content["level"].values
    for feature in range(2):
        expected = np.argsort(-largest[:, feature])[: np.count_nonzero(largest[:, feature])]
        assert list(order[bounds[feature] : bounds[feature + 1]]) == list(expected)
        for track in range(bounds[feature], bounds[feature + 1]):
            shown = level[ends[track] : ends[track + 1]]
            true = codes[sample == order[track], feature]
            np.testing.assert_allclose(shown / 255 * largest[:, feature].max(), true, atol=largest.max() / 250)
            assert ((shown > 0) == (true > 0)).all()
    assert content["proteins"]["1"] == {"letters": "LAG", "spans": [[1, 3, "<b>"]]}
