"""The notebook of a PyTorch user: SAEs on tensors."""

import numpy as np
import pandas as pd
import pytest
import torch

import biosae as bs
from biosae.errors import DataError, SettingError


@pytest.fixture(scope="module")
def x():
    return torch.randn(1500, 16, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def run(x):
    return bs.train(x, "topk", k=4, expansion=4)


def test_the_block_of_the_docs(x, run, tmp_path):
    assert 0 < run.evaluation.fvu < 1
    run.save(tmp_path / "out")
    z = run.sae.encode(x[:8])
    y = run.sae.decode(z)
    assert y.shape == (8, 16)
    y = run.sae.edit(x[:8], ablate=[12], scale={40: 2.0})
    assert y.shape == (8, 16)
    sae = bs.load(tmp_path / "out")
    torch.testing.assert_close(sae.encode(x[:8]).dense(), z.dense(), rtol=0, atol=0)


def test_the_same_numbers_in_any_container_give_the_same_sae(x, run, tmp_path):
    np.save(tmp_path / "x.npy", x.numpy())
    for given in (
        x.numpy(),
        np.load(tmp_path / "x.npy", mmap_mode="r"),
        iter(x.split(100)),
        [x[:700], x[700:].numpy()],
    ):
        other = bs.train(given, "topk", k=4, expansion=4)
        assert torch.equal(other.sae.W_dec, run.sae.W_dec)


def test_samples_tokens_and_labels_reach_scores_and_report(x, tmp_path):
    obs = pd.DataFrame({"kind": ["a", "b"] * 150}, index=[f"s{n}" for n in range(300)])
    names = np.array(["A", "C", "D", "E", "F"] * 300)
    acts = bs.Activations.of(x, sample_ids=np.repeat(obs.index, 5), token_ids=names, obs=obs, name="my net")
    run = bs.train(acts, "batchtopk", k=4, expansion=2)
    assert run.features().n_obs == 300
    scores = run.score(n_permutations=10)
    assert "label:kind" in scores.columns.unique(0) and "genes" in scores.columns.unique(0)
    assert set(run.table("genes")["gene"]) <= set("ACDEF")
    assert run.report(tmp_path).exists()


def test_padding_is_dropped():
    cube = torch.randn(200, 4, 8, generator=torch.Generator().manual_seed(1))
    mask = torch.ones(200, 4, dtype=torch.bool)
    mask[::2, 3] = False
    cube[~mask] = float("nan")
    acts = bs.Activations.of(cube, mask=mask)
    assert acts.n_tokens == 700
    assert bs.train(acts, "topk", k=2, expansion=2).features().obs["biosae_n_tokens"].tolist()[:2] == [3, 4]


def test_training_starts_from_another_sae(x, run):
    again = bs.train(x, "topk", k=4, init=run.sae, lr=1e-12)
    assert again.evaluation.fvu == pytest.approx(run.evaluation.fvu, rel=1e-4)
    folded = run.sae.fold()
    from_folded = bs.train(x, "topk", k=4, init=folded, lr=1e-12)
    assert from_folded.evaluation.fvu == pytest.approx(run.evaluation.fvu, rel=1e-4)


def test_callbacks_schedules_and_kept_steps(x):
    seen = []
    run = bs.train(
        x,
        "topk",
        k=4,
        expansion=2,
        epochs=4,
        eval_every=1,
        batch_size=500,
        keep_at=[0.5, 1.0],
        lr=lambda share: 1e-3 * (1 - share),
        callbacks=[lambda sae, step: seen.append(step) or {"norm": float(sae.W_enc.norm())}],
    )
    assert seen == list(range(1, 13))
    rows = run.metrics.query("split == 'train'")
    np.testing.assert_allclose(rows["lr"], [1e-3 * (1 - (n + 0.5) / 12) for n in range(12)])
    assert run.metrics.query("split == 'validate'")["norm"].notna().all()
    kept = sorted((run.folder / "kept").iterdir(), key=lambda path: int(path.name))
    assert [path.name for path in kept] == ["6", "12"]
    assert torch.equal(bs.load(kept[1]).W_dec, run.sae.W_dec)
    history = run.feature_history()
    assert list(history.columns) == ["settled_at", "step_6", "step_12"]
    np.testing.assert_allclose(history["step_12"], 1)


def test_a_variant_of_somebody_else_is_trained_saved_loaded_and_reported(x, tmp_path):
    from dataclasses import dataclass

    from biosae.saes.parts.selection import top_k

    @bs.register_variant("mine")
    class Mine(bs.SAE):
        @dataclass(frozen=True)
        class Settings:
            k: int

        def select(self, pre):
            return top_k(pre, self.settings.k)

    run = bs.train(x, "mine", k=4, expansion=2)
    assert isinstance(bs.load(run.save(tmp_path / "run")), Mine)
    assert run.report(tmp_path).exists()


@pytest.mark.parametrize(
    ("settings", "argument", "says"),
    [
        ({"k": -3}, "k", "k must be"),
        ({"k": 400}, "k", "d_sae=32"),
        ({}, "k", "needs the hyperparameter k"),
        ({"k": 4, "kk": 5}, "kk", "no hyperparameter kk"),
        ({"k": 4, "epochs": 0}, "epochs", "epochs must be"),
        ({"k": 4, "keep_at": [2]}, "keep_at", "keep_at must be"),
        ({"k": 4, "device": "tpu9"}, "device", "cannot be used"),
    ],
)
def test_settings_are_refused_with_their_argument(x, settings, argument, says):
    with pytest.raises(SettingError, match=says) as caught:
        bs.train(x, "topk", expansion=2, **settings)
    assert caught.value.argument.split(".")[-1] == argument


def test_settings_are_refused_before_numbers_are_read():
    def never():
        raise AssertionError("the data were read")
        yield

    with pytest.raises(SettingError, match="k must be"):
        bs.train(never(), "topk", k=-3)


@pytest.mark.parametrize(
    ("x", "options", "says"),
    [
        (torch.zeros(4), {}, "shape"),
        (torch.full((50, 4), float("nan")), {}, "NaN"),
        (torch.ones(50, 4), {"sample_ids": ["a"]}, "sample_ids must name the 50 rows"),
        (iter([]), {}, "no batch"),
        ([torch.ones(3, 4), torch.ones(3, 5)], {}, "batches must be"),
        (7, {}, "a tensor, an array or an iterator"),
    ],
)
def test_numbers_that_cannot_be_used_are_refused(x, options, says):
    with pytest.raises(DataError, match=says):
        bs.Activations.of(x, **options)


def test_the_card_says_how_to_use_the_sae(run, tmp_path):
    from biosae.saes.hub import save_pretrained

    card = (save_pretrained(run.folder, tmp_path / "card", "mit") / "README.md").read_text()
    for words in ('bs.load("<this repository>")', "(n_tokens, 16) activations", "SAE: k 4", "The SAE: mit"):
        assert words in card


def test_a_tracker_gets_explained_variance_and_the_final_numbers(x, tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run = bs.train(x, "topk", k=4, expansion=2, tracker="tensorboard", folder=tmp_path)
    events = accumulator.EventAccumulator(str(run.folder / "tensorboard"))
    events.Reload()
    (final,) = events.Scalars("final/fvu")
    assert final.value == pytest.approx(run.evaluation.fvu, rel=1e-6)
    assert events.Scalars("validate/explained_variance")[-1].value == pytest.approx(1 - final.value, rel=1e-5)
    assert "final/recovery_vs_zero" in events.Tags()["scalars"]
    assert "config/text_summary" in events.Tags()["tensors"]
