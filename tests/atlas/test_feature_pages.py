import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from biosae.analysis.residues.residue_codes import ResidueTracks
from biosae.atlas.cell_map import cell_map
from biosae.atlas.feature_pages import N_TOP_CELLS, feature_pages, tracks_of_features
from biosae.atlas.gene_index import GeneIndex
from biosae.atlas.label_tables import LabelTables
from biosae.features.token_codes import TokenCodesShard

from .synthetic import D_SAE, DEAD


@pytest.fixture(scope="module")
def shard(run):
    ((name, content),) = feature_pages(run, GeneIndex(run), LabelTables(run), cell_map(run.table, run.folder))
    assert name == "features-0"
    return content


def part(content, name, feature):
    start, end = content["offsets"].values[feature : feature + 2]
    return content[name].values[start:end]


def test_map_shows_each_active_cell_at_its_level(run, shard):
    cells = shard["cells"]
    code = run.table.X[:, 9].toarray().ravel()
    assert sorted(part(cells, "index", 9)) == np.flatnonzero(code).tolist()
    shown = np.zeros(len(code))
    shown[part(cells, "index", 9)] = part(cells, "level", 9)
    np.testing.assert_allclose(shown / 255 * code.max(), code, atol=code.max() / 255)  # one step of 255
    assert (shown > 0).tolist() == (code > 0).tolist()


def test_top_cells_are_the_most_active(run, shard):
    top = shard["top_cells"]
    code = run.table.X[:, 0].toarray().ravel()
    assert part(top, "code", 0).tolist() == np.sort(code)[::-1][:N_TOP_CELLS].tolist()
    assert code[part(top, "sample", 0)].tolist() == part(top, "code", 0).tolist()


def test_histogram_counts_every_active_token(run, shard):
    counts = shard["histogram"].values.reshape(D_SAE, -1)
    expected = [len(run.token_codes.entries(j).code) for j in range(D_SAE)]
    assert counts.sum(axis=1).tolist() == expected
    code = run.token_codes.entries(0).code
    in_half = shard["histogram"].values.reshape(D_SAE, -1)[0, : shard["n_bins"] // 2].sum()
    assert in_half == (code < code.max() / 2).sum()


def test_enriched_sets_come_with_their_feature(shard):
    assert [row["set"] for row in shard["enrichment"][0]] == ["PLANTED_B"]
    assert "NA" in shard["enrichment"][0][0]["genes"].split(";")
    assert not any(shard["enrichment"][1:])


def test_dead_feature_is_empty(run, shard):
    assert len(part(shard["top_cells"], "sample", DEAD)) == 0
    assert len(part(shard["tokens"], "code", DEAD)) == 0


def test_drawn_tokens_span_the_activations(run, shard):
    tokens = shard["tokens"]
    code = run.token_codes.entries(0).code
    drawn = part(tokens, "code", 0)
    assert (drawn.min(), drawn.max()) == (code.min(), code.max())


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
