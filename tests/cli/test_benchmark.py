"""`biosae benchmark`, and the stage of `biosae run`, as a user types them."""

import json
import shutil

import anndata
import numpy as np
import pandas as pd
import pytest

from biosae.analysis.results import write_analysis
from biosae.artefacts import content_hash

pytest.importorskip("scib_metrics")

SAME_DATA = ("data.n_cells=400", "data.label_keys=[cell_type_coarse]")


@pytest.fixture
def run_to_score(finished_run, tmp_path):
    """A copy of the finished run in which 300 cells are held out, in two batches, with one steered embedding."""
    run, _ = finished_run
    copy = shutil.copytree(run, tmp_path / "copy" / "0" / run.name)
    table = anndata.read_h5ad(copy / "features.h5ad")
    table.obs["batch"] = np.where(np.arange(table.n_obs) % 2, "odd", "even")
    table.obs["biosae_part"] = ["test"] * 300 + ["train"] * (table.n_obs - 300)
    del table.uns["biosae"]["content_hash"]  # parts are not to be changed
    table.write_h5ad(copy / "features.h5ad")
    analysis = json.loads((copy / "analysis.json").read_text())
    write_analysis(copy, analysis | {"features_hash": content_hash(copy / "features.h5ad")})
    embedding = np.asarray(table.obsm["X_model"], dtype=np.float32)
    setting = {"key": "s000", "method": "sae", "chooser": "list", "n_features": 3, "operation": "ablate", "value": 0.0}
    setting |= {"unit": "scale", "where": "all", "error": "keep", "seed": None, "features": [0, 1, 2], "label": "three"}
    described = {"format": 1, "features_hash": content_hash(copy / "features.h5ad"), "settings": json.dumps([setting])}
    obsm = {"original": embedding, "s000": embedding * np.float32(1.1)}
    anndata.AnnData(obs=table.obs, obsm=obsm, uns={"biosae": described}).write_h5ad(copy / "steered.h5ad")
    return copy


@pytest.fixture
def where(run_to_score):
    return f"experiment.root={run_to_score.parents[1]}"


def test_the_stage_of_run_writes_tables_and_figures(run_to_score, where, biosae):
    words = ("benchmark.batch_key=batch", "benchmark.context=[pca]", "benchmark.n_halves=0")
    code, said = biosae("run", "stages=[benchmark,report]", where, *SAME_DATA, *words)
    assert code == 0, said
    assert "292 samples of validate and test, 2 batches (batch)" in said  # two rare types are left out
    summary = pd.read_csv(run_to_score / "integration_summary.csv").set_index("method")
    assert list(summary.index) == ["original", "sae", "pca"]
    versus = pd.read_csv(run_to_score / "integration_versus.csv")
    assert set(versus["versus"]) == {"original", "pca"}
    # A scaled embedding has the same neighbours and the same directions.
    scored = ["ilisi", "clisi", "bras", "silhouette_label", "transfer_accuracy"]
    same = summary.loc[["sae", "original"], scored].to_numpy(dtype=float)
    np.testing.assert_allclose(same[0], same[1], atol=1e-3)
    for suffix in ("pdf", "svg", "png"):
        assert (run_to_score / f"integration.{suffix}").stat().st_size > 1000
    assert (run_to_score / "report" / "data" / "steering.js").exists()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((), "needs a donor or batch column; name one as benchmark.batch_key"),
        (("benchmark.batch_key=donor",), "benchmark.batch_key=donor is not a column of the samples; they have"),
        (("benchmark.batch_key=batch", "benchmark.label_key=state"), "benchmark.label_key=state is not a column"),
        (("benchmark.batch_key=batch", "benchmark.parts=[train]"), "benchmark.parts takes validate and test"),
        (("benchmark.batch_key=batch", "benchmark.context=[mnn]"), "benchmark.context takes pca, harmony, scvi"),
    ],
)
def test_what_cannot_be_scored_is_one_line(where, biosae, words, expected):
    code, said = biosae("benchmark", where, *words)
    assert code == 1
    assert expected in said


def test_a_run_that_was_not_steered_names_the_command(run_to_score, where, biosae):
    (run_to_score / "steered.h5ad").unlink()
    code, said = biosae("benchmark", where, "benchmark.batch_key=batch")
    assert code == 1
    assert "steered.h5ad does not exist; make it with `biosae steer`" in said and "perturbation" not in said
    (run_to_score / "perturbation.h5ad").touch()
    code, said = biosae("benchmark", where, "benchmark.batch_key=batch")
    assert code == 1
    assert "make it with `biosae steer` without steer.perturbation.key" in said
