import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from biosae.saes.code_edits import OPERATIONS, edited_codes
from biosae.steering.edits import (
    Centre,
    EditableTokens,
    FeatureEdit,
    ProjectOut,
    RandomDirection,
    Shift,
)

FEATURES = torch.tensor([5, 2, 11])
CODES = torch.tensor([[0.0, 2.0], [1.5, 0.0]])
AMOUNT = torch.tensor([3.0, -1.0])


@pytest.mark.parametrize(
    "operation, expected",
    [
        ("clamp", [[3.0, -1.0], [3.0, -1.0]]),
        ("scale", [[0.0, -2.0], [4.5, 0.0]]),
        ("add", [[3.0, 1.0], [4.5, -1.0]]),
        ("ablate", [[0.0, 0.0], [0.0, 0.0]]),
    ],
)
def test_operations_by_hand(operation, expected):
    assert edited_codes(CODES, operation, AMOUNT, "all").tolist() == expected


@pytest.mark.parametrize("operation", OPERATIONS)
def test_silent_features_stay_silent_where_only_active_ones_are_edited(operation):
    edited = edited_codes(CODES, operation, AMOUNT, "active")
    everywhere = edited_codes(CODES, operation, AMOUNT, "all")
    assert edited[CODES == 0].tolist() == [0.0, 0.0]
    assert torch.equal(edited[CODES > 0], everywhere[CODES > 0])


@pytest.mark.parametrize("operation", OPERATIONS)
@given(values=st.lists(st.floats(0, 100, width=32), min_size=2, max_size=2))
def test_operations_leave_their_input_alone(operation, values):
    codes = torch.tensor([values])
    before = codes.clone()
    edited_codes(codes, operation, AMOUNT, "all")
    assert torch.equal(codes, before)


@pytest.mark.parametrize("operation, amount", [("scale", 1.0), ("add", 0.0)])
def test_some_operations_can_do_nothing(operation, amount):
    assert torch.equal(edited_codes(CODES, operation, torch.full((2,), amount), "all"), CODES)


def tokens_of(sae, x):
    return EditableTokens(sae, x, torch.arange(len(x)) % 4)


def test_codes_of_chosen_features(sae, x):
    codes = sae.encode(x)
    assert torch.equal(codes.of(FEATURES), codes.dense()[:, FEATURES])


@pytest.mark.parametrize("operation, amount", [("scale", 1.0), ("add", 0.0)])
def test_an_edit_that_changes_no_code_changes_no_bit(sae, x, operation, amount):
    edit = FeatureEdit(FEATURES, operation, torch.full((3,), amount))
    assert torch.equal(edit(tokens_of(sae, x)), x)


def test_tokens_without_the_features_change_no_bit(sae, x):
    silent = (sae.encode(x).dense()[:, FEATURES] == 0).all(1)
    edited = FeatureEdit(FEATURES, "ablate", torch.zeros(3))(tokens_of(sae, x))
    assert torch.equal(edited[silent], x[silent])
    assert (edited[~silent] != x[~silent]).any(1).all()


@pytest.mark.parametrize("operation, amount", [("clamp", 2.0), ("clamp", -1.0), ("scale", 3.0), ("add", 0.5)])
@pytest.mark.parametrize("where", ["all", "active"])
def test_the_error_of_the_sae_is_kept_or_dropped(sae, x, operation, amount, where):
    codes = sae.encode(x).dense()
    edited = codes.clone()
    for j in FEATURES.tolist():
        changed = {"clamp": torch.full_like(codes[:, j], amount), "scale": codes[:, j] * amount}.get(
            operation, codes[:, j] + amount
        )
        edited[:, j] = torch.where(codes[:, j] > 0, changed, codes[:, j]) if where == "active" else changed
    decoded = (edited @ sae.W_dec + sae.b_dec) * sae.input_scale + sae.input_mean
    amounts = torch.full((3,), amount)
    tokens = tokens_of(sae, x)
    replaced = FeatureEdit(FEATURES, operation, amounts, where, "replace")(tokens)
    kept = FeatureEdit(FEATURES, operation, amounts, where)(tokens)
    # Two orders of float32 sums.
    torch.testing.assert_close(replaced, decoded, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(kept, x + decoded - sae(x), atol=1e-5, rtol=1e-5)


def test_a_random_direction_moves_every_token_as_far_as_the_edit(sae, x):
    like = FeatureEdit(FEATURES, "add", torch.tensor([0.5, 1.0, -0.3]), "active")
    direction = torch.nn.functional.normalize(torch.randn(6, generator=torch.Generator().manual_seed(1)), dim=0)
    tokens = tokens_of(sae, x)
    moved, expected = RandomDirection(like, direction)(tokens) - x, like(tokens) - x
    torch.testing.assert_close(moved.norm(dim=1), expected.norm(dim=1), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(moved, moved.norm(dim=1, keepdim=True) * direction, atol=1e-5, rtol=1e-4)


def test_projecting_out_leaves_nothing_along_the_directions(sae, x):
    basis = torch.linalg.qr(torch.randn(6, 2, generator=torch.Generator().manual_seed(0)))[0]
    edited = ProjectOut(x.mean(0), basis)(tokens_of(sae, x))
    torch.testing.assert_close((edited - x.mean(0)) @ basis, torch.zeros(len(x), 2), atol=1e-5, rtol=0)
    rest = torch.eye(6) - basis @ basis.T
    torch.testing.assert_close((edited - x) @ rest, torch.zeros_like(x), atol=1e-5, rtol=0)


def test_centring_moves_each_group_and_leaves_samples_without_one(sae, x):
    shift = torch.tensor([[1.0] * 6, [-2.0] * 6])
    group = torch.tensor([0, 1, -1, 0])
    tokens = tokens_of(sae, x)
    edited = Centre(shift, group)(tokens)
    for sample, by in ((0, 1.0), (1, -2.0), (2, 0.0), (3, 1.0)):
        assert torch.equal(edited[tokens.sample == sample], x[tokens.sample == sample] + by)


def test_a_shift_adds_one_vector_to_all(sae, x):
    assert torch.equal(Shift(torch.arange(6.0))(tokens_of(sae, x)), x + torch.arange(6.0))
