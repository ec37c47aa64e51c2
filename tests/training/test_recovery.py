import numpy as np
import pytest
import torch
from torch import nn

from biosae.errors import DataError
from biosae.models.base import ModelAdapter
from biosae.models.tokens import TokenSequences
from biosae.training.recovery import embedding_recovery


class Doubling(ModelAdapter):
    """Layer 0 embeds, layer 1 doubles: an embedding is twice the mean activation of its tokens."""

    name, d_model, n_layers, pad_token, fingerprint = "doubling", 4, 2, 0, "0" * 16

    def __init__(self):
        torch.manual_seed(0)
        self.network = nn.ModuleDict({"first": nn.Embedding(20, 4), "second": nn.Identity()}).eval()

    def tokenize(self, samples):
        return samples

    def site(self, layer):
        return self.network["first" if layer == 0 else "second"]

    def run(self, batch):
        return self.network["second"](2 * self.network["first"](batch.token))


class Replacement(nn.Module):
    """Stands for an SAE: a fixed function of the activations."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


@pytest.fixture
def sequences():
    token = np.arange(1, 16, dtype=np.int32)
    return TokenSequences(token, np.ones(15, np.float32), np.zeros(15, bool), np.array([0, 4, 4, 9, 15]))


def recovery(sequences, function, mean, samples=(0, 1, 2, 3)):
    return embedding_recovery(Doubling(), sequences, np.array(samples), 0, [Replacement(function)], mean)[0]


def test_identity_recovers_all_and_each_ablation_nothing(sequences):
    mean = torch.tensor([0.5, -1.0, 2.0, 0.0])
    assert recovery(sequences, lambda x: x, mean) == {"recovery_vs_zero": 1.0, "recovery_vs_mean": 1.0}
    assert recovery(sequences, torch.zeros_like, mean)["recovery_vs_zero"] == 0.0
    assert recovery(sequences, lambda x: mean.expand_as(x), mean)["recovery_vs_mean"] == 0.0


def test_several_saes_get_what_each_gets_alone(sequences):
    functions = [lambda x: x / 2, lambda x: x + 1, torch.relu]
    mean = torch.tensor([0.5, -1.0, 2.0, 0.0])
    together = embedding_recovery(Doubling(), sequences, np.arange(4), 0, [Replacement(f) for f in functions], mean)
    assert together == [recovery(sequences, function, mean) for function in functions]


def test_half_of_the_activation_recovers_three_quarters_of_the_squared_distance_to_zero(sequences):
    # e - e/2 is half of e - 0, so a quarter of its square is lost.
    assert recovery(sequences, lambda x: x / 2, torch.ones(4))["recovery_vs_zero"] == pytest.approx(0.75, rel=1e-6)


def test_samples_without_tokens_alone_are_refused(sequences):
    with pytest.raises(DataError, match="at least one sample with a token"):
        recovery(sequences, lambda x: x, torch.ones(4), samples=(1,))
