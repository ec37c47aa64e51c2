"""`biosae steer` as a user types it, on the run of the embedded cells."""

import shutil

import anndata
import numpy as np
import pandas as pd
import pytest

from biosae.artefacts import content_hash
from biosae.atlas.steering_tables import read_steering
from biosae.steering.steered_files import read_steered

SHORT = ("steer.seeds=[0]", "steer.off_target_samples=20")
BY_TYPE = ("steer.choose.score=label:cell_type_coarse/auroc", "steer.n_features_list=[5,40]", *SHORT)


@pytest.fixture(scope="module")
def steered_run(finished_run, tmp_path_factory):
    """A copy of the finished run to steer in; other tests compare the files of the original."""
    run, _ = finished_run
    copy = tmp_path_factory.mktemp("steer") / "runs" / "0" / run.name
    shutil.copytree(run, copy)
    return copy


@pytest.fixture
def steer(steered_run, biosae):
    return lambda *words: biosae("steer", f"experiment.root={steered_run.parents[1]}", *words)


def test_features_of_types_ablated_beside_every_baseline(steered_run, steer):
    code, said = steer(*BY_TYPE)
    assert code == 0, said
    steered, settings = read_steered(steered_run / "steered.h5ad")
    table = anndata.read_h5ad(steered_run / "features.h5ad")
    assert list(steered.obs_names) == list(table.obs_names)
    assert steered.uns["biosae"]["features_hash"] == content_hash(steered_run / "features.h5ad")
    unseen = table.obs["biosae_part"].isin(["validate", "test"])
    embedded = (unseen & (table.obs["biosae_n_tokens"] > 0)).to_numpy()
    for key in ["original", *settings["key"]]:
        assert np.array_equal(np.isfinite(steered.obsm[key]).all(1), embedded)
    assert set(settings["method"]) == {
        "sae", "matched_features", "random_direction", "difference_in_means", "centring"
    }  # fmt: skip
    effects = pd.read_csv(steered_run / "steering" / "effects.csv")
    gap = effects[(effects["metric"] == "target_gap") & (effects["n_features"] == 40)].set_index("method")["estimate"]
    assert gap["sae"] < gap["matched_features"]
    names = {path.name for path in (steered_run / "steering").iterdir()}
    assert {"effects.svg", "effects.png", "off_target.csv", "off_target_features.csv"} <= names
    off_target = pd.read_csv(steered_run / "steering" / "off_target.csv")
    assert off_target["genes"].str.contains("has no expression head").all()
    assert set(off_target["group_by"]) == {"all", "cell_type_coarse"} and off_target["off_target"].gt(0).any()


def test_a_second_sweep_computes_what_is_new_and_keeps_every_bit(steered_run, steer, monkeypatch):
    from biosae.models.base import ModelAdapter

    assert steer(*BY_TYPE)[0] == 0
    before = read_steered(steered_run / "steered.h5ad")[0].obsm["s000"]
    asked, real = [], ModelAdapter.embed_each

    def spy(adapter, batch, layer, edits):
        asked.append(len(edits))
        return real(adapter, batch, layer, edits)

    monkeypatch.setattr(ModelAdapter, "embed_each", spy)
    assert steer(*BY_TYPE)[0] == 0
    assert asked == []
    assert np.array_equal(before, read_steered(steered_run / "steered.h5ad")[0].obsm["s000"], equal_nan=True)


def test_baselines_of_another_target_are_computed_anew(steered_run, steer):
    found = []
    for target in ("cell_type", "cell_type_coarse"):
        assert steer(*BY_TYPE, f"steer.target={target}", "steer.baselines=[centring]")[0] == 0
        steered, settings = read_steered(steered_run / "steered.h5ad")
        found.append(steered.obsm[settings.loc[settings["method"] == "centring", "key"].item()])
    assert not np.array_equal(*found, equal_nan=True)


def test_an_identity_edit_gives_the_original(steered_run, steer):
    words = ("steer.choose.by=list", "steer.choose.features=[3,4,5]", "steer.operation=scale", "steer.values=[1.0]")
    code, said = steer(*words, "steer.baselines=[]", "steer.n_features_list=[3]", *SHORT)
    assert code == 0, said
    steered, _ = read_steered(steered_run / "steered.h5ad")
    assert np.array_equal(steered.obsm["s000"], steered.obsm["original"], equal_nan=True)


def test_one_type_is_steered_toward_another(steered_run, steer):
    key = "steer.perturbation"
    code, said = steer(
        f"{key}.key=cell_type_coarse", f"{key}.control=CD4 T", f"{key}.treated=Mono", f"{key}.strengths=[1.0,2.0]",
        "steer.n_features_list=[40]", *SHORT,
    )  # fmt: skip
    assert code == 0, said
    table = pd.read_csv(steered_run / "steering" / "perturbation.csv")
    chosen = table[table["best_on_select"] & (table["part"] == "test") & (table["metric"] == "distance_closed")]
    closed = chosen[chosen["group_by"] == "all"].set_index("method")["estimate"]
    assert closed["sae"] > 0.2 > closed["matched_features"]
    assert closed["difference_in_means"] > 0.2
    assert (table.loc[table["method"] == "original", "estimate"].dropna() >= 0).all()
    steered, _ = read_steered(steered_run / "perturbation.h5ad")
    given = np.isfinite(steered.obsm["s000"]).all(1)
    assert set(steered.obs.loc[given, "cell_type_coarse"]) == {"CD4 T"}
    assert set(steered.obs.loc[given, "biosae_part"]) == {"select", "test"}


def test_a_benchmark_that_follows_has_the_sweep_that_it_scores(steered_run, biosae, monkeypatch):
    (steered_run / "steered.h5ad").unlink(missing_ok=True)
    (steered_run / "perturbation.h5ad").unlink(missing_ok=True)
    found = []
    benchmark = "biosae.pipeline.run.benchmark"
    monkeypatch.setattr(benchmark, lambda folder, settings, prepared: found.append(read_steering(folder).content()))
    key = "steer.perturbation"
    code, said = biosae(
        "run", "stages=[steer,benchmark]", f"experiment.root={steered_run.parents[1]}", "data.n_cells=400",
        "data.label_keys=[cell_type_coarse]", f"{key}.key=cell_type_coarse", f"{key}.control=CD4 T",
        f"{key}.treated=Mono", f"{key}.strengths=[1.0]", *BY_TYPE, "steer.baselines=[]",
    )  # fmt: skip
    assert code == 0, said
    assert (steered_run / "steered.h5ad").exists() and (steered_run / "perturbation.h5ad").exists()
    (reported,) = found
    assert "target_gap" in str(reported["effects"]) and "distance_closed" in str(reported["perturbation"])


@pytest.mark.parametrize(
    "words, message",
    [
        ((), "the run has no donor or batch column to steer by; name a column as steer.target"),
        (("steer.target=donor",), "the features have no column donor; they have"),
        (("steer.choose.score=label:cell_type_coarse/f1",), "is a score of the test samples, on which steering is"),
        (("steer.choose.score=label:cell_typ_coarse/auroc",), "did you mean label:cell_type_coarse/auroc?"),
        (("steer.choose.by=list", "steer.choose.features=[1,5000]", "steer.baselines=[]"), "names feature 5000"),
        (("steer.choose.by=file", "steer.choose.file=no.txt", "steer.baselines=[]"), "no.txt cannot be read"),
        ((*BY_TYPE, "steer.parts=[select]"), "steer.parts must include test"),
        ((*BY_TYPE, "steer.operation=melt"), "steer.operation must be one of clamp, scale, add, ablate, got melt"),
        ((*BY_TYPE, "steer.n_features_list=[5000]"), "asks for 5000 features, but label:cell_type_coarse/auroc gives"),
        ((*BY_TYPE, "scfm.random_init=all"), "this SAE was trained on geneformer-mini"),
        ((*BY_TYPE, "data.n_cells=300"), "features.h5ad holds 400 other samples than the 300 that were read"),
        (
            ("steer.perturbation.key=cell_type_coarse",),
            "steer.perturbation.key=cell_type_coarse needs two of its values, as control and treated",
        ),
        (
            ("steer.perturbation.key=cell_type_coarse", "steer.perturbation.control=B", "steer.perturbation.treated=Z"),
            "steer.perturbation.treated must be a value of cell_type_coarse",
        ),
    ],
)  # fmt: skip
def test_errors_come_in_one_line_before_any_work(steer, words, message):
    code, said = steer(*words)
    assert code == 1
    assert message in said, said
    assert "steering ━" not in said


def test_run_takes_the_stage(steered_run, biosae):
    code, said = biosae(
        "run", "stages=[steer]", f"experiment.root={steered_run.parents[1]}", "data.n_cells=400",
        "data.label_keys=[cell_type_coarse]", *BY_TYPE,
    )  # fmt: skip
    assert code == 0, said
    assert "embeddings, tables and figures in" in said
