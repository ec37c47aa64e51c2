from __future__ import annotations

import torch

from biosae.saes.variants.topk import TopK
from biosae.training.average import WeightAverage


def test_average_is_exact_at_first_and_exponential_later():
    sae = TopK(4, 8, k=2)
    average = WeightAverage(sae, window_steps=3)
    stream, expected = [1.0, 4.0, 7.0, 2.0, 10.0], None
    for n_steps, value in enumerate(stream, start=1):
        torch.nn.init.constant_(sae.b_enc, value)
        average.update(sae, n_steps)
        share = max(1 / n_steps, 1 / 3)
        expected = value if expected is None else expected + share * (value - expected)
        torch.testing.assert_close(average.result().b_enc, torch.full((8,), expected))


def test_result_has_unit_rows_and_leaves_the_average_alone():
    sae = TopK(4, 8, k=2)
    average = WeightAverage(sae, window_steps=2)
    average.update(sae, 1)
    other = TopK(4, 8, k=2, seed=1)
    average.update(other, 2)
    raw = average.sae.W_dec.detach().clone()
    torch.testing.assert_close(raw, (sae.W_dec + other.W_dec).detach() / 2)
    torch.testing.assert_close(average.result().W_dec.norm(dim=1), torch.ones(8))
    assert torch.equal(average.sae.W_dec, raw)
