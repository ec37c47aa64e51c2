import numpy as np
import pytest
import torch

from biosae.steering.context import Column
from biosae.steering.edits import FeatureEdit, unedited
from biosae.steering.off_target import Observed, Reading, moved_genes, off_target, read_again

SAMPLES = np.array([0, 2, 3, 4, 5, 6, 7])
EDIT = FeatureEdit(torch.tensor([5, 2]), "add", torch.tensor([0.5, 0.5]))


@pytest.fixture
def observed():
    """Seven samples; five are of donor a, too few of b, and one of neither."""
    return Observed.of(SAMPLES, [Column("donor", np.array(["a", "a", "b", "a", "a", None, "a"], dtype=object))])


@pytest.fixture
def predicting(adapter):
    """The model with a head that reads expression off the first two dimensions."""
    adapter.predicts = "counts"
    adapter.expression = lambda hidden, batch: hidden[..., 0] - 2 * hidden[..., 1]
    return adapter


def rows_of(sequences, samples):
    return np.concatenate([np.arange(*sequences.offsets[s : s + 2]) for s in samples])


@pytest.fixture
def read(make_context, sae, sequences, observed):
    context = make_context(sae, sequences, None, tokens_per_batch=9)
    return lambda: read_again(context, observed, {"same": unedited, "edit": EDIT})


def test_small_groups_have_no_numbers_of_their_own(observed):
    assert observed.groups == [("all", ""), ("donor", "a")]
    assert observed.sizes.tolist() == [7, 5]


def test_mean_codes_are_of_the_edited_activations_of_each_group(adapter, sae, sequences, observed, read):
    reading = read()
    for n, member in enumerate(observed.member):
        rows = rows_of(sequences, SAMPLES[member])
        x = adapter.network["first"](torch.from_numpy(sequences.token[rows]).long())
        np.testing.assert_allclose(reading.codes[None][n], sae.encode(x).dense().mean(0).detach(), atol=1e-6)
        np.testing.assert_array_equal(reading.codes["same"][n], reading.codes[None][n])
        moved = x + 0.5 * sae.input_scale * (sae.W_dec[5] + sae.W_dec[2])
        np.testing.assert_allclose(reading.codes["edit"][n], sae.encode(moved).dense().mean(0).detach(), atol=1e-5)
    assert reading.expression == {}


def test_expression_is_predicted_from_the_edited_states(predicting, sae, sequences, read):
    sequences.token[rows_of(sequences, [2])[0]] = sequences.token[0]  # a gene that two samples share
    reading = read()
    rows = rows_of(sequences, SAMPLES)
    token = torch.from_numpy(sequences.token[rows]).long()
    x = predicting.network["first"](token)
    for key, edited in ((None, x), ("edit", x + 0.5 * sae.input_scale * (sae.W_dec[5] + sae.W_dec[2]))):
        final = torch.tanh(edited).detach()
        predicted = final[:, 0] - 2 * final[:, 1]
        for place, gene in enumerate(reading.genes):
            assert reading.expression[key][0, place] == pytest.approx(predicted[token == gene].mean().item(), abs=1e-5)
    np.testing.assert_array_equal(reading.expression["same"], reading.expression[None])
    assert reading.genes.tolist() == sorted(set(token.tolist()))
    assert reading.n_samples_with_gene[0].tolist() == [2 if g == sequences.token[0] else 1 for g in reading.genes]


def test_changes_are_summed_on_and_off_target():
    observed = Observed(np.arange(6), [("all", ""), ("donor", "a")], np.ones((2, 6), dtype=bool))
    before = np.array([[1.0, 0.0, 2.0, 0.5], [0.0, 0.0, 1.0, 0.0]])
    codes = {None: before, "s000": before + [[-1.0, 0, 0.9, 0.1], [0.0, 0.0, 0.0, 0.3]], "s001": before}
    reading = Reading(codes, {}, np.array([]), np.zeros((2, 0)))
    summary, listed = off_target(reading, observed, {"s000": np.array([0, 1]), "s001": np.array([], dtype=int)})
    first, of_donor, second, _ = summary.to_dict("records")
    assert first["on_target"] == pytest.approx(1.0) and first["off_target"] == pytest.approx(1.0)
    assert first["n_moved"] == 1  # feature 2 alone is 90 % of it
    assert (of_donor["group_by"], of_donor["group"]) == ("donor", "a")
    assert (of_donor["on_target"], of_donor["off_target"]) == (0, pytest.approx(0.3))
    assert (second["on_target"], second["off_target"], second["n_moved"]) == (0, 0, 0)
    assert listed["feature"].tolist() == [2, 3, 2, 3]  # each group lists what moves most over all samples
    assert listed["change"].tolist() == pytest.approx([0.9, 0.1, 0.0, 0.3])


def test_genes_that_move_most_and_are_common_enough():
    observed = Observed(np.arange(9), [("all", ""), ("donor", "a")], np.ones((2, 9), dtype=bool))
    before = np.array([[1.0, 5.0, 2.0], [1.0, np.nan, 2.5]])
    expression = {None: before, "s000": before + [[0.5, 9.0, -0.7], [0.5, np.nan, -0.1]]}
    reading = Reading({}, expression, np.array([4, 7, 9]), np.array([[9, 4, 8], [5, 0, 5]]))
    names = [f"G{n}" for n in range(10)]
    table = moved_genes(reading, observed, names)
    assert table["gene"].tolist() == ["G9", "G4"] * 2  # G7 is in four samples only
    assert table["change"].tolist() == pytest.approx([-0.7, 0.5, -0.1, 0.5])
    assert table["n_samples"].tolist() == [8, 9, 5, 5]
