"""What cannot be divided is refused; that the rest is exact is in tests/training/test_divided_runs.py."""

from __future__ import annotations

import pytest

from biosae.distributed.processes import SINGLE, ReplicaGroup
from biosae.errors import SettingError
from biosae.saes.shards import divide
from biosae.saes.variants.gumbeltopk import GumbelTopK
from biosae.saes.variants.topk import TopK


@pytest.mark.parametrize(
    ("sae", "ranks", "message"),
    [
        (TopK(4, 8, k=2), SINGLE, "needs several processes: start it with torchrun"),
        (GumbelTopK(4, 8, k=2), ReplicaGroup(0, 2), "works for TopK, BatchTopK.*, got GumbelTopK"),
        (TopK(4, 9, k=2), ReplicaGroup(0, 2), "9 features cannot be divided evenly over 2 processes"),
    ],
)
def test_what_cannot_be_divided_is_refused(sae, ranks, message):
    with pytest.raises(SettingError, match=message):
        divide(sae, ranks, "cpu")
