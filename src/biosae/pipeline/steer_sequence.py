"""Steering of one sequence: which residues a clamped feature makes the model expect, beside simpler edits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from biosae.data.fasta import Proteins
from biosae.feature_names import feature_number

from .sequences import LETTERS, SequenceReader, checked

N_RANDOM = 5


@dataclass(frozen=True)
class SteeredSequence:
    """Effect of a clamped feature on the residues that the model expects.

    Attributes
    ----------
    table
        One row per residue: ``position`` (from 1), ``residue``, ``moved`` (Kullback-Leibler divergence of the 20 amino
        acids from the unedited ones, in bits), ``raised`` and ``lowered`` (the amino acids whose logits change most)
        with their changes ``raised_by`` and ``lowered_by``, and ``moved`` of the baselines: ``random_direction`` (mean
        of `N_RANDOM`) and ``difference_in_means``, edits of the same length at every residue.
    logo
        ``(n_residues, 20)`` heights for `biosae.pl.sequence_logo`: ``moved``, divided by the edited probabilities.
    """

    table: pd.DataFrame
    logo: pd.DataFrame


def steer_sequence(
    reader: SequenceReader, sequence: str, feature: int | str, value: float, seed: int = 0
) -> SteeredSequence:
    """Clamp a feature at every residue and read the logits of the model's head for masked residues.

    What the SAE does not explain is kept. The difference in means is that of the residues of this sequence where the
    feature is on and where it is off; it is missing where all are one of them.

    Parameters
    ----------
    feature
        Number or name (``f12``).
    value
        The code it is set to, in the units of `SequenceReader.encode`.
    seed
        Of the random directions.

    Raises
    ------
    ModelError
        If the model has no head for masked residues.
    DataError
        If the sequence holds anything but letters.
    """
    number, model = feature_number(feature, reader.sae.d_sae), reader.model
    tokens = model.tokenize(Proteins(["sequence"], [checked(sequence)]))
    (batch,) = model.batches(tokens, np.arange(1), len(sequence) + 2)
    place = torch.tensor([model.vocabulary.tolist().index(letter) for letter in LETTERS], device=model.device)

    def distribution(edit: Callable[[Tensor], Tensor] | None) -> tuple[np.ndarray, np.ndarray]:
        logits = model.logits(batch, reader.layer, edit)[:, place]
        return logits.cpu().numpy(), torch.log_softmax(logits, dim=1).cpu().numpy() / np.log(2)

    (hidden,) = model.activations(batch, [reader.layer])
    x = hidden[~batch.special[batch.mask]]
    delta = clamped(reader, x, number, value) - x
    length = delta.norm(dim=1, keepdim=True)
    first, log_first = distribution(None)
    second, log_second = distribution(lambda hidden: hidden + delta)
    table = _moves(sequence[: len(x)].upper(), first, second).assign(moved=_divergence(log_second, log_first))
    generator = torch.Generator().manual_seed(seed)
    directions = [torch.randn(x.shape[1], generator=generator).to(x) for _ in range(N_RANDOM)]
    by_chance = [distribution(_along(one, length))[1] for one in directions]
    table["random_direction"] = np.mean([_divergence(one, log_first) for one in by_chance], axis=0)
    is_on = reader.sae.encode(x).dense()[:, number] > 0
    table["difference_in_means"] = np.nan
    if is_on.any() and not is_on.all():
        means = x[is_on].mean(0) - x[~is_on].mean(0)
        table["difference_in_means"] = _divergence(distribution(_along(means, length))[1], log_first)
    logo = pd.DataFrame(np.exp2(log_second) * table["moved"].to_numpy()[:, None], columns=list(LETTERS))
    return SteeredSequence(table, logo)


def clamped(reader: SequenceReader, x: Tensor, feature: int, value: float) -> Tensor:
    """Return activations with one code set to a value and the SAE's error kept."""
    with torch.no_grad():
        codes = reader.sae.encode(x).dense()
        edited = codes.clone()
        edited[:, feature] = value
        return x + reader.sae.decode(edited, x) - reader.sae.decode(codes, x)


def _along(direction: Tensor, length: Tensor) -> Callable[[Tensor], Tensor]:
    unit = direction / direction.norm()
    return lambda hidden: hidden + length * unit


def _moves(sequence: str, first: np.ndarray, second: np.ndarray) -> pd.DataFrame:
    change, rows = second - first, np.arange(len(sequence))
    raised, lowered, letters = change.argmax(1), change.argmin(1), np.array(list(LETTERS))
    return pd.DataFrame(
        {
            "position": rows + 1,
            "residue": list(sequence),
            "moved": np.nan,
            "raised": letters[raised],
            "raised_by": change[rows, raised],
            "lowered": letters[lowered],
            "lowered_by": change[rows, lowered],
        }
    )


def _divergence(log_edited: np.ndarray, log_unedited: np.ndarray) -> np.ndarray:
    """Kullback-Leibler divergence of each row, in bits, from logarithms to the base 2."""
    return np.maximum((np.exp2(log_edited) * (log_edited - log_unedited)).sum(axis=1), 0)
