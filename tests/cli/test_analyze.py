import json
import shutil

import anndata
import numpy as np
import pandas as pd
import pytest
from safetensors.torch import load_file

from biosae.pipeline.controls import is_finished


@pytest.fixture(scope="module")
def odd_run(finished_run, tmp_path_factory):
    """A copy of the run whose obs has columns that are hard to score, and its root."""
    run, _ = finished_run
    root = tmp_path_factory.mktemp("odd") / "runs"
    folder = root / "0" / run.name
    shutil.copytree(run, folder, ignore=shutil.ignore_patterns("report", "checkpoint", "tables", "controls"))
    table = anndata.read_h5ad(folder / "features.h5ad")
    is_rare = np.zeros(table.n_obs, dtype=bool)
    is_rare[np.flatnonzero(table.obs["biosae_part"] == "test")[:3]] = True
    table.obs = table.obs.assign(constant="one", missing=np.nan, rare=np.where(is_rare, "rare", "other"))
    table.write_h5ad(folder / "features.h5ad")
    return folder


@pytest.fixture
def analyze(odd_run, biosae):
    """Runs `biosae analyze` on the odd run; gives exit code and what it said."""
    root = odd_run.parents[1]
    return lambda *words: biosae("analyze", f"experiment.root={root}", "analysis.n_permutations=49", *words)


@pytest.mark.parametrize(
    ("label", "reason"),
    [
        ("constant", "constant is not scored: constant has one class only (one), so nothing can be told apart"),
        ("missing", "missing is not scored: no sample of the select part has a value of missing"),
        ("rare", "rare is not scored: no class of rare has 3 samples in both parts, select and test"),
    ],
)
def test_a_label_that_cannot_be_scored_is_one_line_and_the_others_are_scored(analyze, odd_run, label, reason):
    code, said = analyze(f"analysis.label_keys=[{label},cell_type_coarse]")
    assert code == 0, said
    assert reason in said
    scores = pd.read_csv(odd_run / "scores.csv", header=[0, 1], index_col=0)
    assert f"label:{label}" not in scores and "label:cell_type_coarse" in scores
    assert label in json.loads((odd_run / "analysis.json").read_text())["summary"]["labels_left_out"]


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("analysis.label_keys=[nope]", "the features have no column nope; they have"),
        ("analysis.gene_sets=[absent.gmt]", "the gene set file absent.gmt does not exist"),
        ("analysis.gene_sets=[broken.gmt]", "broken.gmt line 2: expected a name, a description and gene symbols"),
        ("analysis.gene_families=[broken.gmt]", "broken.gmt line 2: expected a name, a description and gene symbols"),
        ("analysis.gene_sets=[sets.csv]", "gene sets must be in a .gmt or .json file, got sets.csv"),
        ("analysis.n_permutations=0", "analysis.n_permutations must be at least 1, got 0"),
    ],
)
def test_bad_input_is_one_line_before_the_work(analyze, tmp_path, override, says):
    (tmp_path / "broken.gmt").write_text("good\tmine\tIL2RA\tFOXP3\nbroken IL2RA\n")
    code, said = analyze(override)
    assert code == 1
    assert says in said
    assert "Traceback" not in said and "Summing" not in said


def test_sets_without_overlap_are_named(analyze, tmp_path):
    (tmp_path / "far.gmt").write_text("far\tmine\tNO1\tNO2\tNO3\tNO4\tNO5\n")
    code, said = analyze("analysis.gene_sets=[far.gmt]")
    assert code == 0
    assert "far: none of its sets has 5 to 500 of the genes in these samples" in said


def test_controls_stand_beside_the_sae(finished_run, biosae, tmp_path):
    shutil.copytree(finished_run[0].parents[1], tmp_path / "runs")  # other tests count on the scores of this run
    (run,) = (tmp_path / "runs" / "0").iterdir()
    where = (f"experiment.root={tmp_path / 'runs'}", "analysis.controls=true", "analysis.n_permutations=49")
    code, said = biosae("analyze", *where)
    assert code == 0, said
    controls = pd.read_csv(run / "controls.csv").set_index("axes")
    trained = ["sae, frozen decoder", "sae, random layers", "sae, random model"]
    assert {"sae", "neurons", "rectified neurons", "pca", "ica", "nmf", "random", *trained} <= set(controls.index)
    assert {"expression genes", "expression pca", "expression nmf", "cell depth"} <= set(controls.index)
    claims = pd.read_csv(run / "control_claims.csv")
    assert {*trained, "cell depth", "pca"} <= set(claims["control"])
    assert (claims["difference"] - (claims["auroc"] - claims["control_auroc"])).abs().max() < 1e-5
    assert "claims survive every control" in said
    assert (controls.loc[["sae", *trained], "n_axes"] == 1024).all()
    assert controls.loc[trained, "l0"].to_numpy() == pytest.approx(controls.loc["sae", "l0"], rel=0.02)
    assert (controls["n_recovered"] <= controls["n_concepts"]).all()
    assert "<svg" in (run / "controls.svg").read_text()
    check_frozen(run)
    check_hosts(run)


def check_frozen(run):
    """The decoder is where it started, and the encoder has learned."""
    from biosae.saes import files
    from biosae.saes.build import build

    frozen = files.load(run / "controls" / "frozen_decoder")
    settings = frozen.config()
    start = build("topk", settings.pop("d_in"), settings.pop("d_sae"), {"k": settings["k"]}, 0)
    np.testing.assert_allclose(frozen.W_dec.detach(), start.W_dec.detach(), atol=1e-6)  # unit norm after every step
    assert (frozen.W_enc - start.W_enc).abs().mean() > 1e-3


def check_hosts(run):
    """Each control SAE was trained on activations of its own, is found again for these alone, and differs."""
    names = ("frozen_decoder", "random_blocks", "random_all")
    sources = [json.loads((run / "controls" / name / "evaluation.json").read_text())["source"] for name in names]
    assert len({source["activations"] for source in sources}) == 3
    assert sources[0]["activations"] == json.loads((run / "run.json").read_text())["activations"]["hash"]
    assert all(is_finished(run / "controls" / name, source) for name, source in zip(names, sources, strict=True))
    assert not is_finished(run / "controls" / names[1], sources[2])
    assert not is_finished(run / "controls" / "none", sources[0])
    encoders = [load_file(run / "controls" / name / "sae.safetensors")["W_enc"] for name in names[1:]]
    assert not np.allclose(*encoders)
