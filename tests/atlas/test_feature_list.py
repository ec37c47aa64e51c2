from dataclasses import replace

from biosae.atlas.feature_list import UNNAMED, feature_names, supported

from .synthetic import CLASSES, DEAD, GENE_FEATURE


def test_planted_features_carry_their_class(run):
    assert [name.text for name in feature_names(run)[: len(CLASSES)]] == list(CLASSES)


def test_reason_gives_score_and_null(run):
    assert "held-out AUROC 1.00 (null 0.66), q = 0.008" in feature_names(run)[0].reason


def test_feature_of_one_gene_carries_its_name(run):
    assert feature_names(run)[GENE_FEATURE].text == "GENE70"


def test_dead_and_noise_features_are_unnamed(run):
    assert {feature_names(run)[j].text for j in (DEAD, 7, 8)} == {UNNAMED}


def test_small_q_below_the_null_is_no_support(run):
    scores = run.scores.copy()
    scores.loc[0, ("label:cell_type", "auroc")] = 0.6  # under the null of 0.66
    assert not supported(scores, "cell_type")[0]
    assert feature_names(replace(run, scores=scores))[0].text == UNNAMED


def test_enriched_set_alone_names_nothing(run):
    scores = run.scores.copy()
    scores["enrichment", "set"] = "RIBOSOME"
    scores["enrichment", "q_value"] = 0.01
    assert feature_names(replace(run, scores=scores))[8].text == UNNAMED


def test_class_and_dominant_gene_are_both_named(run):
    scores = run.scores.copy()
    scores.loc[0, ("genes", "top_share")] = 0.8
    scores.loc[0, ("genes", "top_genes")] = "CD79A;MS4A1"
    assert feature_names(replace(run, scores=scores))[0].text == "B cells (CD79A)"


def test_a_marked_site_comes_before_a_class_and_only_above_its_null(run):
    scores = run.scores.copy()
    scores["residues", "concept"] = "Domain: SH2"
    scores["residues", "f1"] = 0.5
    scores["residues", "null_f1"] = [0.4] + [0.6] * (len(scores) - 1)
    scores["residues", "q_value"] = 0.01
    first, second = feature_names(replace(run, scores=scores))[:2]
    assert first.text == "Domain: SH2" and "held-out F1 0.50 (null 0.40)" in first.reason
    assert second.text == CLASSES[1]
