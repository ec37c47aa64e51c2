import json
import os
import subprocess
import sys

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from biosae.cli.compare_words import with_data
from biosae.pipeline.compare import baseline_sentences, final_sentences, gap_sentences
from biosae.saes import files

QUICK = ("training.epochs=3", "training.batch_size=64", "compare.hyperparams.k=8", "compare.dictionary_multiplier=2")


@pytest.fixture(scope="module")
def vectors(tmp_path_factory):
    """A file of 300 embeddings of width 32 that are mixtures of ten directions."""
    path = tmp_path_factory.mktemp("vectors") / "per-protein.h5"
    generator = np.random.default_rng(0)
    mixed = generator.exponential(size=(300, 10)) @ generator.normal(size=(10, 32)) + 1
    with h5py.File(path, "w") as file:
        for n, row in enumerate(mixed.astype(np.float16)):
            file.create_dataset(f"P{n:05d}", data=row)
    return path


@pytest.fixture(scope="module")
def compared(vectors, tmp_path_factory):
    """The folder of a comparison, made by the command as a user types it."""
    folder = tmp_path_factory.mktemp("compared")
    command = [sys.executable, "-m", "biosae", "compare", "data=protein_h5", f"data.path={vectors}", *QUICK]
    done = subprocess.run(
        command, cwd=folder, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    (table,) = folder.glob("runs/0/*/comparison.csv")
    return table.parent


def numbers_from_the_weights(run, x):
    """NMSE, FVU, L0 and dead features written out from the tensors, without the class."""
    tensors = {name: tensor.double().numpy() for name, tensor in files.load(run).state_dict().items()}
    settings = files.load(run).config()
    centre, spread = x.mean(1, keepdims=True), x.std(1, keepdims=True)
    normalised = ((x - centre) / spread - tensors["input_mean"]) / tensors["input_scale"]
    pre = (normalised - tensors["b_dec"]) @ tensors["W_enc"] + tensors["b_enc"]
    codes = np.maximum(pre, 0)
    if "k" in settings:
        codes[codes < np.sort(codes, axis=1)[:, -settings["k"]][:, None]] = 0
    output = (codes @ tensors["W_dec"] + tensors["b_dec"]) * tensors["input_scale"] + tensors["input_mean"]
    error = ((output * spread + centre - x) ** 2).sum(1)
    norm = np.linalg.norm(x, axis=1)
    nmse = (error / norm**2).mean()
    in_host_units = (codes * tensors["input_scale"] * spread).sum(1)
    return {
        "nmse": nmse,
        "fvu": error.sum() / ((x - x.mean(0)) ** 2).sum(),
        "l0": (codes > 0).sum(1).mean(),
        "dead_fraction": (~(codes > 0).any(0)).mean(),
        "loss": nmse + settings.get("l1_coefficient", 0) * (in_host_units / norm).mean(),
    }


def test_the_last_numbers_are_those_of_the_saved_weights(compared, vectors):
    table = pd.read_csv(compared / "comparison.csv")
    last = table[table["step"] == table["step"].max()].set_index(["model", "split"])
    assert set(last.index.get_level_values("model")) == {"standard", "topk", "gumbeltopk"}
    with h5py.File(vectors) as file:
        x = np.stack([file[name][:] for name in sorted(file)]).astype(np.float64)
    for model in ("standard", "topk", "gumbeltopk"):
        part = pd.read_csv(compared / model / "split.csv")["part"]
        for split, parts in {"train": ["train"], "val": ["validate", "select"], "test": ["test"]}.items():
            chosen = x[part.isin(parts).to_numpy()]
            assert last.loc[(model, split), "n_tokens"] == len(chosen)
            for name, value in numbers_from_the_weights(compared / model, chosen).items():
                # The SAE computes in float32; a pre-activation at the k-th place may tie or change sign there.
                assert last.loc[(model, split), name] == pytest.approx(value, rel=2e-3, abs=1e-6), (model, split, name)


def test_there_is_a_row_for_every_epoch_and_split_and_the_split_is_80_10_10(compared):
    table = pd.read_csv(compared / "comparison.csv")
    assert list(table.columns[:4]) == ["model", "epoch", "step", "split"]
    assert table.groupby(["model", "split"])["epoch"].agg(list).map(lambda epochs: epochs == [1, 2, 3]).all()
    sizes = table.drop_duplicates("split").set_index("split")["n_tokens"] / 300
    assert sizes.to_dict() == pytest.approx({"train": 0.8, "val": 0.1, "test": 0.1}, abs=0.02)
    for name in ("comparison", "curves"):
        assert (compared / f"{name}.png").stat().st_size > 5000
        assert (compared / f"{name}.pdf").exists()
        assert "<svg" in (compared / f"{name}.svg").read_text()


def test_the_baselines_are_those_of_the_same_tokens(compared, vectors):
    found = pd.read_csv(compared / "baselines.csv").set_index(["baseline", "split"])
    assert set(found.index.get_level_values("baseline")) >= {"mean", "nearest train token", "pca-8"}
    with h5py.File(vectors) as file:
        x = np.stack([file[name][:] for name in sorted(file)]).astype(np.float64)
    part = pd.read_csv(compared / "topk" / "split.csv")["part"].to_numpy()
    test, mean = x[part == "test"], x[part == "train"].mean(0)
    expected = (((test - mean) ** 2).sum(1) / (test**2).sum(1)).mean()
    assert found.loc[("mean", "test"), "nmse"] == pytest.approx(expected, rel=1e-6)
    assert found.loc[("mean", "test"), "n_tokens"] == len(test)


def test_models_that_do_not_beat_a_baseline_or_fit_their_train_samples_are_named():
    rows = [
        {"model": model, "step": 9, "split": split, "nmse": nmse, "n_tokens": 358}
        for model, of in {"topk": (0.003, 0.009), "gated": (0.003, 0.005)}.items()
        for split, nmse in zip(("train", "test"), of, strict=True)
    ]
    table = pd.DataFrame(rows)
    baselines = pd.DataFrame({"baseline": ["mean", "pca-64"], "split": "test", "nmse": [0.5, 0.0055]})
    mean, pca = baseline_sentences(table, baselines)
    assert (mean, pca) == (
        "baseline mean: NMSE test 0.5000, beaten by all models",
        "baseline pca-64: NMSE test 0.0055, not beaten by topk",
    )
    (said,) = gap_sentences(table, {"topk": 4_200_000, "gated": 10})
    assert said == "topk fits its train samples 3.0 times better: 4,200,000 weights, 358 train tokens"


def test_each_variant_is_a_run_that_the_later_stages_read(compared, biosae):
    where = (f"experiment.root={compared.parents[1]}", f"sae_checkpoint.experiment=0/{compared.name}")
    where += ("sae_checkpoint.timestamp=topk",)
    for command in ("features", "analyze", "report"):
        code, said = biosae(command, *where)
        assert code == 0, said
    described = json.loads((compared / "topk" / "run.json").read_text())
    assert (described["data"]["kind"], described["sae"]["variant"]) == ("proteins", "TopK")
    assert (compared / "topk" / "report" / "index.html").exists()


def test_one_seed_gives_one_result(compared, biosae, vectors, tmp_path):
    code, said = biosae("compare", "data=protein_h5", f"data.path={vectors}", *QUICK)
    assert code == 0, said
    (again,) = (table.parent for table in tmp_path.glob("runs/0/*/comparison.csv"))
    for name in ("standard", "topk", "gumbeltopk"):
        first, second = (files.load(folder / name).state_dict() for folder in (compared, again))
        assert all(torch.equal(first[key], second[key]) for key in first)


def test_cells_are_compared_too(biosae, tmp_path):
    words = (
        "data.n_cells=120",
        "training.epochs=1",
        "sae.target_layer=1",
        "compare.saes=[topk]",
        "compare.hyperparams.k=8",
    )
    code, said = biosae("compare", *words, "compare.dictionary_multiplier=1")
    assert code == 0, said
    (table,) = tmp_path.glob("runs/0/*/comparison.csv")
    assert set(pd.read_csv(table)["model"]) == {"topk"}


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("compare.saes=[topk,nope]", "sae/nope does not exist; there are"),
        ("compare.saes=[]", "must name different variants, got none"),
        ("compare.saes=[topk,topk]", "must name different variants, got topk, topk"),
        ("sae.hyperparams.k=3", "applies to a single SAE; compare takes compare.saes="),
        ("training.keep_best=true", "compare evaluates final weights and does not support training.keep_best"),
        ("+compare.hyperparams.kk=3", "compare.hyperparams.kk belongs to none of standard, topk, gumbeltopk"),
        ("compare.architecture.loss_unit=nope", "loss_unit must be dataset or token, got nope"),
        ("data.split.test=0.9", "must be above 0 and leave some to train on"),
    ],
)
def test_bad_settings_end_in_one_line(biosae, vectors, tmp_path, override, says):
    code, said = biosae("compare", "data=protein_h5", f"data.path={vectors}", override)
    assert code == 1
    assert says in said
    assert not (tmp_path / "runs").exists()


SMALL = ("training.epochs=1", "compare.dictionary_multiplier=0.1", "compare.hyperparams.k=4", "tracker=csv")


def settings_of_run(folder):
    return yaml.safe_load((folder / "config.yaml").read_text())


def test_the_quickstart_needs_no_setting_and_says_which_proteins_it_took(biosae, tmp_path):
    code, said = biosae("compare", *SMALL)
    assert code == 0, said
    assert "there is no data/per-protein.h5 here" in said
    assert "1,421 three-finger toxins" in said
    (table,) = tmp_path.glob("runs/0/*/comparison.csv")
    assert pd.read_csv(table).groupby("split")["n_tokens"].first().sum() == 1421
    assert settings_of_run(table.parent / "topk")["training"]["decay"] == "cosine"  # training=embeddings


def test_the_quickstart_takes_the_file_of_the_folder(biosae, vectors, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "per-protein.h5").symlink_to(vectors)
    code, said = biosae("compare", *SMALL, "compare.dictionary_multiplier=1")
    assert code == 0, said
    (table,) = tmp_path.glob("runs/0/*/comparison.csv")
    assert settings_of_run(table.parent / "topk")["data"]["path"] == "data/per-protein.h5"
    assert pd.read_csv(table).groupby("split")["n_tokens"].first().sum() == 300


@pytest.mark.parametrize(
    ("words", "data"),
    [
        (["data.path=x/per-residue.h5"], ["data=protein_h5"]),
        (["data.path=a.fasta"], ["data=fasta"]),
        (["data.path=cells.h5ad", "seed=1"], ["data=h5ad"]),
        (["data=fasta", "data.path=a.h5"], []),
        (["scfm=scgpt"], []),
        (["data.n_cells=10"], []),
        (["--help"], []),
        (["seed=1", "compare=seed"], ["data=toxins"]),
    ],
)
def test_the_kind_of_data_is_that_of_the_file(words, data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert with_data(words) == [*data, *words]


def test_the_seed_is_three_tied_variants_of_which_two_are_normalised(biosae, vectors, tmp_path):
    words = (f"data.path={vectors}", "compare=seed", *SMALL, "compare.dictionary_multiplier=1")
    code, said = biosae("compare", *words)
    assert code == 0, said
    (folder,) = (table.parent for table in tmp_path.glob("runs/0/*/comparison.csv"))
    kept = {name: settings_of_run(folder / name)["sae"] for name in ("standard", "topk", "gumbeltopk")}
    assert [one["architecture"]["layer_norm"] for one in kept.values()] == [False, True, True]
    assert all(one["architecture"]["tied_decoder"] for one in kept.values())
    assert all(one["architecture"]["decoder_norm"] == "unit_at_start" for one in kept.values())
    assert kept["standard"]["hyperparams"]["l1_coefficient"] == 0.001
    assert [kept[name]["hyperparams"]["auxk_coefficient"] for name in ("topk", "gumbeltopk")] == [0, 0]
    own = kept["gumbeltopk"]["hyperparams"]
    assert (own["tau_start"], own["tau_end"], own["anneal_steps"]) == (1, 1e-8, 10_000)
    loaded = files.load(folder / "topk")
    torch.testing.assert_close(loaded.W_enc, loaded.W_dec.T)


def test_any_architecture_setting_may_differ_between_variants(biosae, vectors, tmp_path):
    words = (f"data.path={vectors}", *SMALL, "compare.saes=[standard,topk]")
    own = ("compare.standard.architecture.layer_norm=false", "compare.topk.hyperparams.k=3")
    code, said = biosae("compare", *words, *own, "compare.topk.dictionary_multiplier=0.5")
    assert code == 0, said
    (folder,) = (table.parent for table in tmp_path.glob("runs/0/*/comparison.csv"))
    standard, topk = (settings_of_run(folder / name)["sae"] for name in ("standard", "topk"))
    assert (standard["architecture"]["layer_norm"], topk["architecture"]["layer_norm"]) == (False, True)
    assert (topk["hyperparams"]["k"], topk["dictionary_multiplier"]) == (3, 0.5)
    table = pd.read_csv(folder / "comparison.csv").set_index("model")
    assert table.loc["topk", "k"].eq(3).all()
    assert table.loc["standard", "k"].isna().all()
    for wrong, says in {
        "compare.gated.architecture.layer_norm=false": "compare.gated is none of the variants standard, topk",
        "compare.topk.architecture.layr_norm=false": "has no layr_norm; did you mean layer_norm?",
        "compare.topk.archtecture.layer_norm=false": "settings of topk alone are dictionary_multiplier, architecture",
    }.items():
        code, said = biosae("compare", *words, wrong)
        assert code == 1
        assert says in said


def test_an_l0_below_k_is_explained_and_dead_features_are_of_the_train_samples():
    rows = [
        {"model": "topk", "step": 9, "split": split, "nmse": 0.01, "l0": 62.6, "k": 64, "dead_fraction": dead}
        for split, dead in {"train": 0.25, "val": 0.5, "test": 0.75}.items()
    ]
    (said,) = final_sentences(pd.DataFrame(rows))
    assert "25% of the features dead on the train samples" in said
    assert "L0 62.6" in said
    assert "some samples have fewer positive pre-activations" in said
    (said,) = final_sentences(pd.DataFrame(rows).assign(l0=64.0))
    assert "positive" not in said
