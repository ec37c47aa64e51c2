import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from biosae.errors import SettingError
from biosae.steering.operations import OPERATIONS, amounts, edited_codes

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
    OPERATIONS[operation](codes, AMOUNT)
    assert torch.equal(codes, before)


@pytest.mark.parametrize("operation, amount", [("scale", 1.0), ("add", 0.0)])
def test_some_operations_can_do_nothing(operation, amount):
    assert torch.equal(edited_codes(CODES, operation, torch.full((2,), amount), "all"), CODES)


def test_a_value_is_measured_in_the_features_own_scale():
    scale = np.array([2.0, 0.5, np.nan])
    assert amounts("clamp", 3.0, "scale", np.array([1, 0]), scale).tolist() == [1.5, 6.0]
    assert amounts("clamp", 3.0, "absolute", np.array([1, 2]), scale).tolist() == [3.0, 3.0]
    assert amounts("scale", 3.0, "scale", np.array([1, 0]), scale).tolist() == [3.0, 3.0]
    assert amounts("clamp", 0.0, "scale", np.array([2]), scale).tolist() == [0.0]


def test_a_silent_feature_has_no_scale():
    with pytest.raises(SettingError, match="feature 2 is never active.*steer.unit=absolute"):
        amounts("add", 1.0, "scale", np.array([0, 2]), np.array([2.0, 0.5, np.nan]))
