"""Precomputed embeddings as a model of one layer, whose activations are read from a file."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from biosae.artefacts import settings_hash

from .base import ModelAdapter
from .tokens import TokenBatch, TokenSequences

PROTEIN, RESIDUE = "protein", "residue"
LETTERS = "ACDEFGHIKLMNPQRSTVWYX"
_TOKEN_OF_BYTE = np.full(256, LETTERS.index("X"), dtype=np.int32)
_TOKEN_OF_BYTE[[ord(letter) for letter in LETTERS]] = range(len(LETTERS))


class Embeddings(Protocol):
    """Embeddings on disk: ``n_rows`` rows of width ``d`` for each sample."""

    n_rows: np.ndarray
    d: int

    def read(self, rows: np.ndarray) -> np.ndarray: ...


class NamedTokens(NamedTuple):
    """Names of rows: ``(n_rows,) int32`` the number of each row's name, and the names."""

    number: np.ndarray
    names: list[str]


def residues(sequences: list[str]) -> NamedTokens:
    """Return the amino acids of proteins, one after the other, as the tokens of their rows."""
    letters = "".join(sequences).upper().encode("ascii", "replace")
    return NamedTokens(_TOKEN_OF_BYTE[np.frombuffer(letters, dtype=np.uint8)], list(LETTERS))


class StoredVectors(ModelAdapter):
    """One token per stored row: the protein itself, or each of its residues.

    Parameters
    ----------
    name
        Model that made the embeddings. An SAE reads those of the same name and width only.
    content
        Hash of the file.
    tokens
        What each row stands for; see `residues`. None: all rows stand for the same.
    """

    def __init__(self, vectors: Embeddings, name: str, content: str, tokens: NamedTokens | None = None):
        one = RESIDUE if (vectors.n_rows > 1).any() else PROTEIN
        network = nn.Module()
        network.layers = nn.ModuleList([nn.Identity()])
        network.register_parameter("place", nn.Parameter(torch.empty(0), requires_grad=False))
        super().__init__(name, network, [one] if tokens is None else tokens.names, vectors.d)
        self._vectors, self._tokens = vectors, tokens
        self.fingerprint = settings_hash({"vectors of": name, "d": vectors.d})
        self.reads_beside_tokens = content

    def tokenize(self, samples: Embeddings) -> TokenSequences:
        n_rows = samples.n_rows
        token = np.zeros(int(n_rows.sum()), dtype=np.int32) if self._tokens is None else self._tokens.number
        nothing = np.zeros(len(token), dtype=np.float32)
        return TokenSequences(token, nothing, nothing > 0, np.concatenate([[0], np.cumsum(n_rows)]))

    def run(self, batch: TokenBatch) -> Tensor:
        rows = torch.from_numpy(self._vectors.read(batch.sample.cpu().numpy())).to(self.device)
        hidden = torch.zeros(*batch.mask.shape, self.d_model, device=self.device)
        hidden[batch.mask] = rows
        return self.network.layers[0](hidden)
