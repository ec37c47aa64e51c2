from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from biosae.atlas.sequence_page import sequence_page
from biosae.cli.encode import settings_in
from biosae.data.fasta import read_fasta
from biosae.errors import ArtefactError, DataError, SettingError
from biosae.features.token_codes import TokenCodes
from biosae.notebook.run import load_run
from biosae.pipeline.encode import encode
from biosae.pipeline.sequences import open_sequence_reader
from biosae.pipeline.steer_sequence import clamped, steer_sequence
from biosae.pipeline.train import train
from biosae.pipeline.write_sequences import write_sequences
from biosae.runs.data_settings import ProteinData
from biosae.runs.settings import ExperimentSettings, SaeSettings, Settings
from biosae.training.settings import TrainerSettings

MODEL = Path(__file__).resolve().parents[1] / "fixtures" / "models" / "esm2"
SEQUENCE = "MKTAYIAKQRQISFVKSHFSRQLEERLG"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run on the FASTA file of the fixture, with its features."""
    root = tmp_path_factory.mktemp("sequences")
    settings = Settings(
        data=ProteinData(path=str(MODEL / "input.fasta")),
        plm={"loader": "esm2", "model_dir": str(MODEL)},
        sae=SaeSettings("topk", target_layer=1, dictionary_multiplier=2, hyperparams={"k": 4}),
        training=TrainerSettings(lr=None, epochs=1),
        experiment=ExperimentSettings(root=str(root)),
        device="cpu",
    )
    (made,) = train(settings)
    encode(made, settings)
    return made


@pytest.fixture(scope="module")
def reader(folder):
    return open_sequence_reader(folder, "cpu")


def test_codes_are_those_of_the_features_stage(reader, folder):
    proteins = read_fasta(MODEL / "input.fasta")
    codes = reader.codes(proteins.sequences)
    assert [len(one) for one in codes] == [len(sequence) for sequence in proteins.sequences]
    stored = np.zeros((sum(map(len, codes)), reader.sae.d_sae), dtype=np.float32)
    first = 0
    for shard in TokenCodes(folder / "token_codes").shards():
        stored[first + shard.row, shard.feature()] = shard.code
        first += shard.n_tokens
    # The store keeps float16 activations, so that a code at the k-th place may be another.
    assert np.mean(np.abs(stored - np.concatenate(codes)) < 0.02) > 0.99


def test_a_sequence_gives_its_features_residue_by_residue(reader):
    table = reader.encode(SEQUENCE.lower())
    assert list(table.columns) == ["position", "residue", "feature", "code", "name"]
    assert (table.groupby("position").size() <= 4).all()
    assert "".join(table.drop_duplicates("position")["residue"]) == SEQUENCE
    assert (table.groupby("position")["code"].diff().dropna() <= 0).all()
    for wrong in ("MK-T", "", "MK T"):
        with pytest.raises(DataError, match="one letter each"):
            reader.encode(wrong)


def test_a_substitution_is_compared_with_others_at_its_place(reader):
    variant = SEQUENCE[:5] + "W" + SEQUENCE[6:]
    table = reader.compare(SEQUENCE, variant)
    first, second = reader.codes([SEQUENCE, variant])
    row = table.iloc[0]
    feature = int(row["feature"])
    assert row["change"] == pytest.approx(second[:, feature].sum() - first[:, feature].sum(), abs=1e-5)
    assert row["position"] == np.abs(second - first)[:, feature].argmax() + 1
    others = [SEQUENCE[:5] + letter + SEQUENCE[6:] for letter in "ACDEFGHKLMNPQRSTVY"]
    by_chance = [abs(codes[:, feature].sum() - first[:, feature].sum()) for codes in reader.codes(others)]
    assert row["background"] == pytest.approx(np.mean(by_chance), rel=1e-4)
    assert row["p_value"] == pytest.approx((1 + sum(np.array(by_chance) >= abs(row["change"]))) / 19)
    assert (table["change"].abs().diff().dropna() <= 1e-9).all()
    two = "W" + SEQUENCE[1:5] + "W" + SEQUENCE[6:]
    pd.testing.assert_frame_equal(reader.compare(SEQUENCE, two, 5, seed=1), reader.compare(SEQUENCE, two, 5, seed=1))
    with pytest.raises(DataError, match="one length, got 28 and 27"):
        reader.compare(SEQUENCE, SEQUENCE[1:])
    with pytest.raises(DataError, match="the same sequence"):
        reader.compare(SEQUENCE, SEQUENCE)


def test_a_run_of_a_notebook_takes_sequences(reader, folder):
    run = load_run(folder)
    pd.testing.assert_frame_equal(run.encode(SEQUENCE), reader.encode(SEQUENCE))
    variant = "W" + SEQUENCE[1:]
    pd.testing.assert_frame_equal(run.compare(SEQUENCE, variant), reader.compare(SEQUENCE, variant))


def test_tables_and_pages_are_written(reader, tmp_path):
    (page,) = write_sequences(reader, tmp_path / "out", sequence=SEQUENCE, variant="W" + SEQUENCE[1:])
    assert {path.name for path in page.parent.iterdir()} == {"sequence.csv", "sequence.changes.csv", "sequence.html"}
    (steered,) = write_sequences(reader, tmp_path / "steered", sequence=SEQUENCE, clamp=("f3", 9.0))
    assert "<svg" in steered.with_suffix(".steered.svg").read_text()
    assert len(pd.read_csv(steered.with_suffix(".steered.csv"))) == len(SEQUENCE)
    text = page.read_text()
    assert "What the variant changes" in text
    assert "<script" not in text
    pages = write_sequences(reader, tmp_path / "all", path=MODEL / "input.fasta")
    assert len(pages) == len(read_fasta(MODEL / "input.fasta").ids)
    with pytest.raises(DataError, match="compared with one sequence"):
        write_sequences(reader, tmp_path / "no", path=MODEL / "input.fasta", variant=SEQUENCE)


def test_names_are_escaped():
    rows = pd.DataFrame({"position": [1], "residue": ["M"], "feature": [3], "code": [1.0], "name": ["<img src=x>"]})
    page = sequence_page("<b>x", "MK", rows)
    assert "<img" not in page
    assert "&lt;img src=x&gt;" in page
    assert "<b>x" not in page


def test_the_command_takes_a_run_and_one_source(folder, tmp_path, monkeypatch, capsys):
    from biosae.cli import encode as command

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["biosae encode", f"run={folder}", f"sequence={SEQUENCE}", "out=here"])
    command.main()
    assert (tmp_path / "here" / "sequence.html").exists()
    for words, says in {
        ("run=a",): "either data.path=one.fasta or sequence=",
        ("run=a", "sequence=M", "data.path=b"): "either",
        ("run=a", "sequence=M", "feature=f1"): "a clamped feature needs both",
        ("run=a", "sequence=M", "feature=f1", "value=x"): "a clamped feature needs both",
        ("data=fasta",): "data=fasta is no setting of encode: it takes run=, data.path=",
    }.items():
        with pytest.raises(SettingError, match=says):
            settings_in(list(words))


def test_runs_on_cells_are_refused(folder, tmp_path):
    import shutil

    shutil.copytree(folder, tmp_path / "run")
    config = tmp_path / "run" / "config.yaml"
    config.write_text(config.read_text().replace("kind: proteins", "kind: vectors"))
    with pytest.raises(ArtefactError, match="trained on vectors, not on sequences"):
        open_sequence_reader(tmp_path / "run")


def test_logits_are_those_of_the_reference(reader):
    expected = np.load(MODEL / "expected.npz")["logits_prot0"]
    proteins = read_fasta(MODEL / "input.fasta")
    tokens = reader.model.tokenize(proteins.chosen([0]))
    (batch,) = reader.model.batches(tokens, np.arange(1), 8192)
    found = reader.model.logits(batch).numpy()
    inner = expected[1:-1] if len(expected) == len(found) + 2 else expected
    np.testing.assert_allclose(found[: len(inner)], inner, atol=2e-4)  # float32 in another order of operations


def test_a_clamped_feature_moves_logits_and_an_unmoved_one_does_not(reader):
    table = reader.encode(SEQUENCE)
    feature = int(table["feature"].iloc[0])
    found = steer_sequence(reader, SEQUENCE, f"f{feature}", 20.0)
    assert "".join(found.table["residue"]) == SEQUENCE
    assert (found.table["moved"] > 0).all()
    assert (found.table["raised_by"] >= found.table["lowered_by"]).all()
    assert found.table["random_direction"].gt(0).all()
    assert found.table["difference_in_means"].notna().all()
    np.testing.assert_allclose(found.logo.sum(axis=1), found.table["moved"], rtol=1e-4)
    silent = next(n for n in range(reader.sae.d_sae) if n not in set(table["feature"]))
    still = steer_sequence(reader, SEQUENCE, silent, 0.0).table
    np.testing.assert_allclose(still["moved"], 0, atol=1e-6)
    assert still["difference_in_means"].isna().all()


def test_a_clamp_moves_activations_along_the_feature_alone(reader):
    x = torch.randn(6, reader.sae.d_in, generator=torch.Generator().manual_seed(0))
    codes = reader.sae.encode(x).dense()[:, 3]
    moved = clamped(reader, x, 3, 2.0) - x
    expected = (2.0 - codes)[:, None] * (moved[0] / (2.0 - codes[0]))
    torch.testing.assert_close(moved, expected, atol=1e-4, rtol=1e-4)
