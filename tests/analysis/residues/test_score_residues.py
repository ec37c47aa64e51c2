import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from biosae.analysis.residues.domains import agreement, domains_of, switched_on, turned
from biosae.analysis.residues.protocols import PROTOCOLS, protocol_of
from biosae.analysis.residues.score_residues import residue_scores
from biosae.artefacts import content_hash, write_json
from biosae.errors import DataError, SettingError
from biosae.features.token_codes import MANIFEST, TokenCodes, TokenCodesShard


def write_codes(folder, sample, token, codes):
    """Token codes of dense ``(n_tokens, d_sae)`` codes, in one shard."""
    by_feature = sparse.csc_matrix(codes.astype(np.float32))
    arrays = (sample.astype(np.int64), token.astype(np.int32), np.zeros(len(sample), np.float32))
    entries = (by_feature.indptr.astype(np.int64), by_feature.indices.astype(np.int32), by_feature.data)
    TokenCodesShard(*arrays, *entries).write(folder / "shard-00000.safetensors", {})
    shard = {"name": "shard-00000.safetensors", "n_tokens": len(sample), "nnz": by_feature.nnz}
    shard["hash"] = content_hash(folder / shard["name"])
    sizes = {
        "d_sae": codes.shape[1],
        "n_tokens": len(sample),
        "n_samples": int(sample.max()) + 1,
        "nnz": by_feature.nnz,
    }
    hashes = {"sae_hash": "s", "activations_hash": "a"}
    write_json(folder / MANIFEST, {"format": 1, **sizes, **hashes, "shards": [shard]})
    vocabulary = pd.DataFrame({"token": [0, 1, 2], "identifier": list("AGL"), "name": list("AGL")})
    vocabulary.to_csv(folder / "vocabulary.csv", index=False)
    return TokenCodes(folder)


def test_precision_is_by_residue_and_recall_by_domain():
    # Two proteins of five residues; domains of concept D on 1-3 and 8-9, of concept E on 5-6 and on 1.
    sample = np.repeat([3, 7], 5)
    spans = pd.DataFrame(
        {
            "sample": [3, 7, 3, 7],
            "start": [2, 4, 5, 2],
            "end": [4, 5, 5, 2],
            "concept": ["D", "D", "E", "E"],
        }
    )
    domains = domains_of(spans, sample, ["D", "E"])
    on = np.zeros((10, 2))
    on[[1, 2, 4, 5], 0] = 1  # two residues in the first D, one in the first E, one nowhere
    found = agreement(sparse.csr_matrix(on), domains)
    np.testing.assert_allclose(found.precision[0], [2 / 4, 1 / 4])
    np.testing.assert_allclose(found.recall[0], [1 / 2, 1 / 2])
    np.testing.assert_allclose(found.f1[0], [0.5, 1 / 3])
    np.testing.assert_allclose(found.f1[1], 0)  # never on


def test_domains_beyond_what_the_model_read_are_cut_or_left_out():
    spans = pd.DataFrame({"sample": [0, 0], "start": [3, 5], "end": [9, 6], "concept": ["D", "D"]})
    domains = domains_of(spans, np.zeros(4, dtype=int), ["D"])
    assert domains.members.toarray().ravel().tolist() == [0, 0, 1, 1]
    assert len(domains.concept) == 1


def test_thresholds_are_shares_of_the_largest_code():
    codes = sparse.csr_matrix(np.array([[0.1, 1.0], [0.5, 0.15], [0.0, 0.2]]))
    assert switched_on(codes, 0.15).toarray().tolist() == [[0, 1], [1, 0], [0, 1]]


def test_turning_keeps_every_protein_and_its_order_around_the_circle():
    sample = np.repeat([0, 1, 4], [4, 1, 6])
    rows = turned(sample, np.random.default_rng(0))
    assert sorted(rows) == list(range(11))
    np.testing.assert_array_equal(sample[rows], sample)
    assert set(np.diff(rows[5:]) % 6) == {1}


@pytest.fixture
def planted(tmp_path):
    """60 proteins of 30 residues with a domain each; feature 2 fires on it, the others anywhere."""
    generator = np.random.default_rng(0)
    sample = np.repeat(np.arange(60), 30)
    start = generator.integers(1, 22, 60)
    spans = pd.DataFrame({"sample": range(60), "start": start, "end": start + 8, "concept": "D"})
    codes = generator.exponential(size=(1800, 6)) * (generator.random((1800, 6)) < 0.2)
    position = np.tile(np.arange(1, 31), 60)
    inside = (position >= np.repeat(start, 30)) & (position <= np.repeat(start + 8, 30))
    codes[:, 2] = inside * (2 + generator.random(1800)) + (generator.random(1800) < 0.3) * 0.2
    part = np.repeat(["train", "validate", "select", "test"], 15)
    return write_codes(tmp_path, sample, generator.integers(0, 3, 1800), codes), spans, part


def test_a_planted_domain_is_found_and_nothing_else_passes_the_null(planted):
    codes, spans, part = planted
    found = residue_scores(codes, spans, part, n_permutations=199, seed=0)
    marker = found.concepts.iloc[0]
    assert (marker["feature"], marker["n_domains"]) == (2, 15)
    assert marker["f1"] == pytest.approx(1)  # its weak codes outside lie under 0.15 of its largest
    assert marker["threshold"] >= 0.15
    assert marker["null_f1"] < 0.8
    assert marker["p_value"] == pytest.approx(1 / 200)
    assert found.best.loc[2, "q_value"] < 0.05
    assert (found.best.drop(index=2)["q_value"] > 0.05).all()
    assert marker["residue_f1"] < 0.6
    assert marker["position_f1"] < 0.6  # the domains lie anywhere
    assert set(found.table["feature"]) <= set(range(6))


def test_a_concept_at_a_fixed_position_is_told_by_its_position(planted, caplog):
    codes, spans, part = planted
    fixed = spans.assign(start=11, end=13)
    marker = residue_scores(codes, fixed, part, n_permutations=9, seed=0).concepts.iloc[0]
    assert marker["position_f1"] == pytest.approx(1)
    assert marker["f1"] < 1
    assert marker["position"] == "residue 11 from the start"  # recall is by domain: one residue touches it
    assert "residue 11 from the start does as well as any feature (F1 1.00)" in caplog.text


def test_what_is_chosen_on_select_does_not_see_test(planted):
    codes, spans, part = planted
    in_test = part[spans["sample"]] == "test"
    moved = spans.assign(start=spans["start"].where(~in_test, 1), end=spans["end"].where(~in_test, 9))
    before, after = (residue_scores(codes, each, part, 9, 0).best for each in (spans, moved))
    pd.testing.assert_frame_equal(
        before[["concept", "f1_select", "threshold"]], after[["concept", "f1_select", "threshold"]]
    )
    assert after.loc[2, "f1"] < before.loc[2, "f1"]


def test_rare_concepts_are_named_and_none_at_all_is_refused(planted):
    codes, spans, part = planted
    rare = pd.concat([spans, pd.DataFrame({"sample": [0], "start": [1], "end": [2], "concept": ["R"]})])
    assert residue_scores(codes, rare, part, 9, 0).left_out == {
        "R": "0 domains on select, 0 on test; at least 3 of each"
    }
    with pytest.raises(DataError, match="no annotation of residues has 3 domains"):
        residue_scores(codes, spans.iloc[:20], part, 9, 0)


def test_the_two_ends_of_a_bond_are_one_object_for_recall():
    spans = pd.DataFrame(
        {"sample": 0, "start": [2, 6, 4], "end": [2, 6, 4], "concept": "Disulfide bond", "object": [0, 0, 1]}
    )
    domains = domains_of(spans, np.zeros(8, dtype=int), ["Disulfide bond"])
    assert domains.members.toarray().ravel().nonzero()[0].tolist() == [1, 3, 5]
    on = sparse.csr_matrix(np.eye(8)[:, [1]])  # one end of the first bond
    found = agreement(on, domains)
    assert (found.precision[0, 0], found.recall[0, 0], found.recall_by_residue[0, 0]) == (1, 1 / 2, 1 / 3)
    assert found.f1_by_residue[0, 0] == pytest.approx(2 * (1 / 3) / (4 / 3))
    by_residue = agreement(on, domains, PROTOCOLS["interplm"].by_residue(["Disulfide bond"]))
    assert by_residue.recall[0, 0] == 1 / 3


def test_interplm_counts_single_residues_by_residue_and_needs_ten_domains_or_1500_residues(planted):
    rules = PROTOCOLS["interplm"]
    assert rules.by_residue(["Domain: SH2", "Modified residue: phosphorylation", "Helix"]).tolist() == [
        False,
        True,
        False,
    ]
    assert PROTOCOLS["residues"].by_residue(["Helix"]).all()
    codes, spans, part = planted
    assert residue_scores(codes, spans, part, 9, 0, rules).concepts["concept"].tolist() == ["D"]
    generic = spans.assign(concept="Domain")
    with pytest.raises(DataError, match="10 domains"):
        residue_scores(codes, generic, part, 9, 0, rules)
    with pytest.raises(SettingError, match="residue_protocol must be one of domains, residues, interplm, got x"):
        protocol_of("x")


def test_annotations_beyond_the_model_are_counted_and_not_scored(planted):
    codes, spans, part = planted
    beyond = spans.assign(start=31, end=40, concept="B")
    found = residue_scores(codes, pd.concat([spans, beyond], ignore_index=True), part, 9, 0)
    assert found.n_beyond == 60
    assert found.concepts["concept"].tolist() == ["D"]
