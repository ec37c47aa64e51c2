"""The families of scib-metrics on planted embeddings, and our totals against the library's own pipeline."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import silhouette_score

from biosae.benchmark import metric_families
from biosae.benchmark.metric_families import family_scores, neighbours, totals
from biosae.errors import MissingExtraError

pytest.importorskip("scib_metrics")


def score(planted, embedding, reference=None):
    reference = planted.embed(batch_shift=10.0) if reference is None else reference
    return family_scores(embedding, reference, planted.batch, planted.label, with_kbet=False)


def test_mixed_batches_and_separate_labels_score_high(planted):
    scores = score(planted, planted.embed(batch_shift=0.0, seed=3))
    assert scores["leiden_nmi"] == scores["leiden_ari"] == 1
    assert scores["graph_connectivity"] > 0.98
    assert scores["clisi"] > 0.99
    assert scores["ilisi"] > 0.8
    assert scores["bras"] > 0.85  # 20 cells of each batch and label: chance leaves a tenth
    assert scores["pcr_comparison"] > 0.95


def test_separate_batches_score_low_on_batches_only(planted):
    mixed, separate = (score(planted, planted.embed(batch_shift=shift)) for shift in (0.0, 100.0))
    assert separate["ilisi"] < 0.01
    assert separate["bras"] < 0.2
    assert separate["pcr_comparison"] == 0
    assert separate["batch_correction"] < 0.5 * mixed["batch_correction"]


def test_an_embedding_that_is_the_label_is_perfect_biology(planted):
    embedding = planted.embed(batch_shift=0.0, label_shift=1e4)
    scores = score(planted, embedding)
    assert [scores[name] for name in metric_families.BIO] == pytest.approx([1] * 5, abs=1e-3)
    assert scores["bio_conservation"] == pytest.approx(1, abs=1e-3)


def test_labels_at_random_carry_no_biology(planted):
    scores = score(planted, planted.embed(batch_shift=0.0, label_shift=0.0))
    assert scores["leiden_ari"] < 0.1
    assert scores["silhouette_label"] == pytest.approx(0.5, abs=0.05)
    assert scores["clisi"] < 0.3


def test_label_silhouette_is_that_of_scikit_learn(planted):
    embedding = planted.embed(batch_shift=2.0, label_shift=2.0)
    expected = (silhouette_score(embedding, planted.label) + 1) / 2
    assert score(planted, embedding)["silhouette_label"] == pytest.approx(expected, abs=1e-5)  # float32


def test_neighbours_are_exact_and_begin_with_the_sample(planted):
    embedding = planted.embed(batch_shift=1.0)
    found = neighbours(embedding)
    assert found.indices.shape == (240, 90)
    distance = np.linalg.norm(embedding[:, None].astype(float) - embedding, axis=2)
    np.testing.assert_array_equal(found.indices[:, 0], np.arange(240))
    np.testing.assert_allclose(found.distances, np.sort(distance, axis=1)[:, :90], atol=1e-5)


def test_totals_by_hand_leave_out_what_is_undefined():
    bio = dict(zip(metric_families.BIO, (0.1, 0.2, 0.3, 0.4, np.nan), strict=True))
    batch = dict(zip(metric_families.BATCH, (0.5, 0.6, 0.7, 0.8), strict=True))
    assert totals(bio | batch) == pytest.approx({"bio_conservation": 0.25, "batch_correction": 0.65, "total": 0.41})
    assert totals(bio | batch | {"kbet": 0.0})["batch_correction"] == pytest.approx(2.6 / 5)


def test_all_scores_are_those_of_the_librarys_pipeline(planted):
    benchmark = pytest.importorskip("scib_metrics.benchmark")
    import anndata

    embedding, reference = planted.embed(batch_shift=2.0, label_shift=3.0), planted.embed(batch_shift=4.0)
    obs = pd.DataFrame({"batch": planted.batch, "label": planted.label}, index=[str(i) for i in range(240)])
    cells = anndata.AnnData(obs=obs, obsm={"X": embedding, "pre": reference})
    pipeline = benchmark.Benchmarker(
        cells, "batch", "label", ["X"], pre_integrated_embedding_obsm_key="pre", progress_bar=False,
        bio_conservation_metrics=benchmark.BioConservation(
            nmi_ari_cluster_labels_kmeans=False, nmi_ari_cluster_labels_leiden=True
        ),
        batch_correction_metrics=benchmark.BatchCorrection(kbet_per_label=False),
    )  # fmt: skip
    pipeline.prepare(lambda values, n: neighbours(values))
    pipeline.benchmark()
    theirs = pipeline.get_results().loc["X"]
    ours = score(planted, embedding, reference)
    names = {
        "isolated_labels": "Isolated labels", "leiden_nmi": "Leiden NMI", "leiden_ari": "Leiden ARI",
        "silhouette_label": "Silhouette label", "clisi": "cLISI", "bras": "BRAS", "ilisi": "iLISI",
        "graph_connectivity": "Graph connectivity", "pcr_comparison": "PCR comparison",
        "bio_conservation": "Bio conservation", "batch_correction": "Batch correction", "total": "Total",
    }  # fmt: skip
    assert ours == pytest.approx({name: float(theirs[title]) for name, title in names.items()}, abs=1e-6)


def test_without_the_package_the_extra_is_named(planted, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "scib_metrics", None)
    with pytest.raises(MissingExtraError, match=r"scib_metrics.*pip install 'biosae\[integration\]'"):
        score(planted, planted.embed(0.0))
