from __future__ import annotations

import csv
import os
import signal

import pytest
import torch

from biosae.activations.source import ArrayActivations
from biosae.errors import ArtefactError, SettingError, TrainingError
from biosae.saes.files import load
from biosae.saes.variants.batchtopk import BatchTopK
from biosae.saes.variants.gumbeltopk import GumbelTopK
from biosae.saes.variants.topk import TopK
from biosae.training.checkpoint import latest_step
from biosae.training.evaluate import evaluate
from biosae.training.train_state import TrainState
from biosae.training.trainer import Trainer, TrainingRun


class Recorder:
    """A tracker that keeps what it is told."""

    def __init__(self):
        self.seen: list[tuple[int, dict[str, float]]] = []

    def log(self, metrics, step):
        self.seen.append((step, metrics))

    def close(self):
        raise AssertionError("whoever made the tracker closes it")


class Interrupting(ArrayActivations):
    """Activations that call a function before one of their batches."""

    def __init__(self, values, at, action):
        super().__init__(values)
        self.at, self.action, self.n_given = at, action, 0

    def batches(self, *args, **kwargs):
        for x in super().batches(*args, **kwargs):
            self.n_given += 1
            yield self.action(x) if self.n_given == self.at else x


def train(sae, source, validation, settings, folder, resume=False, checkpoint_seconds=0.0, **run):
    return Trainer([TrainingRun(sae, settings, folder, **run)], source, validation, 4, checkpoint_seconds).run(resume)[
        0
    ]


def last_checkpoint(folder):
    return folder / "checkpoint" / str(latest_step([folder]))


def test_training_finds_the_planted_features(source, validation, settings, tmp_path):
    sae = TopK(16, 48, k=3)
    metrics = train(sae, source, validation, settings(epochs=40, lr=1e-2), tmp_path)
    assert metrics["fvu"] < 0.1
    assert metrics["l0"] <= 3
    assert metrics == evaluate(load(tmp_path), validation, 256)


def test_counts_written_as_decimals_train_like_whole_ones(source, validation, settings, tmp_path):
    """A batch or k of 1e2 must not reach torch as a float."""
    whole, decimal = (
        train(
            TopK(16, 48, k=kind(3)), source, validation, settings(batch_size=kind(250), max_tokens=kind(2000)), folder
        )
        for kind, folder in ((int, tmp_path / "whole"), (float, tmp_path / "decimal"))
    )
    assert whole == decimal


def test_saved_decoder_rows_are_unit(source, validation, settings, tmp_path):
    """Rows set to unit norm before the optimiser's step are not of unit norm in the file."""
    train(TopK(16, 48, k=3), source, validation, settings(), tmp_path)
    for folder in (tmp_path, last_checkpoint(tmp_path)):
        torch.testing.assert_close(load(folder).W_dec.norm(dim=1), torch.ones(48))


def test_metrics_table_and_tracker_tell_the_same(source, validation, settings, tmp_path):
    tracker = Recorder()
    train(TopK(16, 48, k=3), source, validation, settings(), tmp_path, tracker=tracker)
    rows = list(csv.DictReader((tmp_path / "metrics.csv").open()))
    assert list(rows[0])[:5] == ["step", "tokens", "split", "loss", "reconstruction"]
    assert {"auxk", "fvu", "l0", "dead_fraction", "lr"} <= set(rows[0])
    places = [(int(row["step"]), int(row["tokens"]), row["split"]) for row in rows]
    ends = [(5, 1280), (10, 2512), (15, 3792), (20, 5024), (24, 6000)]  # 2,000 tokens are 7 x 256 + 208
    assert places == [(*end, split) for end in ends for split in ("train", "validate")]
    for row, (step, metrics) in zip(rows, tracker.seen, strict=True):
        assert int(row["step"]) == step
        for name, value in metrics.items():
            split, _, column = name.partition("/")
            assert row["split"] == split
            if column == "explained_variance":  # the word of other libraries, in trackers alone
                assert value == 1 - metrics[f"{split}/fvu"]
                continue
            assert float(row[column]) == pytest.approx(value)
    assert rows[1]["reconstruction"] == ""


@pytest.mark.parametrize("variant", [TopK, BatchTopK, GumbelTopK])
def test_resumed_run_is_bit_identical(variant, source, validation, settings, tmp_path):
    """Interrupted inside an epoch and inside a metrics interval."""
    whole = variant(16, 48, k=3)
    train(whole, source, validation, settings(), tmp_path / "whole")

    def interrupt(x):
        os.kill(os.getpid(), signal.SIGINT)
        return x

    stopped = Interrupting(source.values, at=4 + 13, action=interrupt)  # 4 batches fit the normaliser
    with pytest.raises(KeyboardInterrupt):
        train(variant(16, 48, k=3), stopped, validation, settings(), tmp_path / "parts")
    assert not (tmp_path / "parts" / "sae.yaml").exists()
    resumed = variant(16, 48, k=3)
    train(resumed, source, validation, settings(), tmp_path / "parts", resume=True)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name
    tables = [(tmp_path / folder / "metrics.csv").read_text() for folder in ("whole", "parts")]
    assert tables[0] == tables[1]


def test_interrupt_leaves_the_previous_handler(source, validation, settings, tmp_path):
    before = signal.getsignal(signal.SIGINT)
    train(TopK(16, 48, k=3), source, validation, settings(epochs=1), tmp_path)
    assert signal.getsignal(signal.SIGINT) is before


def test_loss_that_is_not_a_number_keeps_the_last_good_checkpoint(source, validation, settings, tmp_path):
    broken = Interrupting(source.values, at=4 + 13, action=lambda x: x * float("nan"))
    with pytest.raises(TrainingError, match=r"not finite at step 12 .*lower lr.*last good checkpoint is of step 12"):
        train(TopK(16, 48, k=3), broken, validation, settings(), tmp_path)
    kept = load(last_checkpoint(tmp_path))
    assert all(torch.isfinite(tensor).all() for tensor in kept.state_dict().values())
    resumed = TopK(16, 48, k=3)
    train(resumed, source, validation, settings(), tmp_path, resume=True)


@pytest.mark.parametrize(
    ("k", "changes", "message"),
    [(4, {}, "k=3, this run has 4"), (3, {"lr": 1e-4}, "lr=0.003, this run has 0.0001")],
)
def test_resume_with_other_settings_is_refused(source, validation, settings, tmp_path, k, changes, message):
    train(TopK(16, 48, k=3), source, validation, settings(), tmp_path)
    with pytest.raises(SettingError, match=message):
        train(TopK(16, 48, k=k), source, validation, settings(**changes), tmp_path, resume=True)


def test_resume_without_checkpoint_is_refused(source, validation, settings, tmp_path):
    with pytest.raises(ArtefactError, match="does not exist"):
        train(TopK(16, 48, k=3), source, validation, settings(), tmp_path, resume=True)


def test_same_seed_same_weights(source, validation, settings, tmp_path):
    weights = []
    for name in ("one", "two"):
        sae = TopK(16, 48, k=3)
        train(sae, source, validation, settings(), tmp_path / name)
        weights.append(sae.W_dec.detach().clone())
    assert torch.equal(*weights)


def test_saes_trained_together_are_those_trained_alone(source, validation, settings, tmp_path):
    together = [TopK(16, 48, k=3), BatchTopK(16, 32, k=5)]
    wanted = [settings(), settings(lr=1e-3)]
    runs = [
        TrainingRun(sae, made, tmp_path / f"{i}") for i, (sae, made) in enumerate(zip(together, wanted, strict=True))
    ]
    both = Trainer(runs, source, validation, seed=4).run()
    for index, alone in enumerate([TopK(16, 48, k=3), BatchTopK(16, 32, k=5)]):
        metrics = train(alone, source, validation, wanted[index], tmp_path / f"alone{index}")
        assert metrics == both[index]
        assert torch.equal(alone.W_dec, together[index].W_dec)


class Counting(ArrayActivations):
    """Activations that count how often they are read."""

    n_passes = 0

    def batches(self, *args, **kwargs):
        self.n_passes += 1
        return super().batches(*args, **kwargs)


def test_saes_trained_together_share_what_is_read(source, validation, settings, tmp_path):
    """Once for the normalisers, once an epoch, and once for every evaluation, however many learn."""
    counts = []
    for n in (1, 4):
        read = Counting(source.values), Counting(validation.values)
        runs = [TrainingRun(TopK(16, 48, k=k), settings(), tmp_path / f"{n}-{k}") for k in range(1, 1 + n)]
        Trainer(runs, *read).run()
        counts.append([each.n_passes for each in read])
    assert counts == [[1 + 3, 5 + 1]] * 2


def test_an_sae_whose_patience_ends_rests_while_the_others_learn(source, validation, settings, tmp_path):
    """As if each were alone, also when the pass is cut off after that and resumed."""
    hasty = settings(patience=1, lr=1e-12, decay_fraction=0.0, warmup_fraction=0.0)  # learns nothing
    made = {"hasty": hasty, "steady": settings()}
    for name, own in made.items():
        train(TopK(16, 48, k=3), source, validation, own, tmp_path / "alone" / name)

    def interrupt(x):
        os.kill(os.getpid(), signal.SIGINT)
        return x

    stopped = Interrupting(source.values, at=4 + 19, action=interrupt)
    for n_try, read in enumerate((stopped, source)):
        runs = [TrainingRun(TopK(16, 48, k=3), own, tmp_path / "both" / name) for name, own in made.items()]
        trainer = Trainer(runs, read, validation, 4, 0.0)
        if n_try == 0:
            with pytest.raises(KeyboardInterrupt, match="at step 19"):
                trainer.run()
        else:
            trainer.run(resume=True)
    for name in made:
        tables = [(tmp_path / place / name / "metrics.csv").read_text() for place in ("alone", "both")]
        assert tables[0] == tables[1]
        weights = [(tmp_path / place / name / "sae.safetensors").read_bytes() for place in ("alone", "both")]
        assert weights[0] == weights[1]
    assert len(validation_fvu(tmp_path / "both" / "hasty")) < len(validation_fvu(tmp_path / "both" / "steady")) == 5


def test_saes_trained_together_must_agree_on_the_batches(source, validation, settings, tmp_path):
    runs = [TrainingRun(TopK(16, 8, k=3), settings(batch_size=size), tmp_path) for size in (64, 128)]
    with pytest.raises(SettingError, match="need the same batch_size, got 64, 128"):
        Trainer(runs, source, validation)


def test_activations_of_another_width_are_refused(source, validation, settings, tmp_path):
    with pytest.raises(SettingError, match="d_in=12, the activations have width 16"):
        Trainer([TrainingRun(TopK(12, 48, k=3), settings(), tmp_path)], source, validation)


def test_bf16_products_keep_float32_weights(source, validation, settings, tmp_path):
    sae = BatchTopK(16, 48, k=3)
    metrics = train(sae, source, validation, settings(epochs=20, lr=1e-2, precision="bf16"), tmp_path)
    assert all(parameter.dtype == torch.float32 for parameter in sae.parameters())
    assert metrics["fvu"] < 0.2


def validation_fvu(folder) -> list[float]:
    rows = csv.DictReader((folder / "metrics.csv").open())
    return [float(row["fvu"]) for row in rows if row["split"] == "validate"]


def spoil(x):
    """A batch so far off that the step after it is a step back."""
    return 1e4 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))


def test_best_weights_are_kept(source, validation, settings, tmp_path):
    spoiled = Interrupting(source.values, at=4 + 23, action=spoil)
    sae = TopK(16, 48, k=3)
    made = settings(keep_best=True, decay_fraction=0.0, max_grad_norm=1e9, lr=1e-1)
    metrics = train(sae, spoiled, validation, made, tmp_path)
    history = validation_fvu(tmp_path)
    assert history[-1] > min(history)
    assert metrics["fvu"] == pytest.approx(min(history))
    assert torch.equal(load(tmp_path).W_dec, sae.W_dec)


def test_patience_ends_the_run(source, validation, settings, tmp_path):
    spoiled = Interrupting(source.values, at=4 + 8, action=spoil)
    made = settings(patience=1, epochs=10, decay_fraction=0.0, max_grad_norm=1e9)
    train(TopK(16, 48, k=3), spoiled, validation, made, tmp_path)
    history = validation_fvu(tmp_path)
    assert len(history) < 16
    assert history[-1] > min(history)


def test_the_learning_rate_decays_once_patience_has_ended(source, validation, settings, tmp_path):
    made = settings(patience=1, lr=1e-12, epochs=10, eval_every=20, decay_fraction=0.2, warmup_fraction=0.0)
    run = TrainingRun(TopK(16, 48, k=3), made, tmp_path)
    run.rows = [{"split": "validate", "step": step, "fvu": fvu} for step, fvu in ((5, 0.5), (10, 0.6), (15, 0.1))]
    assert run.stalled_at() == 10  # whatever comes later
    assert run.last_step(80) == 10 + 16
    assert run.last_step(11) == 11
    run.rows = []
    learner = TrainState(run.sae, made, 80, 80 * 256)
    assert learner._lr() == 1e-12
    learner.cooldown, learner.n_steps = (10, 26), 18
    assert learner._lr() == pytest.approx(1e-12 * (26 - 18.5) / 16)
    Trainer([run], source, validation).run()
    assert run.stalled_at() == 40
    assert run.rows[-1]["step"] == 56
    assert run.rows[-2]["lr"] == pytest.approx(1e-12 * 0.5 / 16)
