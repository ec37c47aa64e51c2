"""Which other features an edit moves: the edited activations, read by the SAE once more."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch

from biosae.models.base import ModelAdapter
from biosae.models.tokens import TokenSequences
from biosae.progress import progress_bar
from biosae.saes.base import SAE
from biosae.saes.codes import Codes

from .edits import TokenEdit, Tokens

N_LISTED = 20


def mean_codes(
    adapter: ModelAdapter,
    sae: SAE,
    sequences: TokenSequences,
    samples: np.ndarray,
    layer: int,
    edits: Mapping[str, TokenEdit],
    tokens_per_batch: int,
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """``(d_sae,) float64`` mean codes over the samples' content tokens, before and after each edit."""
    before = torch.zeros(sae.d_sae, dtype=torch.float64)
    after = {key: torch.zeros(sae.d_sae, dtype=torch.float64) for key in edits}
    n_tokens = 0
    with progress_bar("off target", len(samples), "samples") as advance:
        for batch in adapter.batches(sequences, samples, tokens_per_batch):
            (hidden,) = adapter.activations(batch, [layer])
            content = batch.content
            tokens = Tokens(sae, hidden[content[batch.mask]], batch.sample.repeat_interleave(content.sum(1)))
            before += _sum_over_tokens(tokens.codes)
            for key, edit in edits.items():
                with torch.no_grad():
                    after[key] += _sum_over_tokens(sae.encode(edit(tokens)))
            n_tokens += len(tokens.x)
            advance(len(batch.sample))
    return before.numpy() / n_tokens, {key: total.numpy() / n_tokens for key, total in after.items()}


def off_target(
    before: np.ndarray, after: dict[str, np.ndarray], edited: dict[str, np.ndarray]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """How much of the change in mean codes is in other features than the edited ones, and in which.

    Parameters
    ----------
    edited
        Key -> the features that the setting edits; none for a baseline without features.

    Returns
    -------
    summary
        One row a setting: ``key``, ``on_target`` and ``off_target`` (sums of absolute changes of mean codes over
        the edited features and over the others), ``n_moved`` (other features that make up 90 % of the latter).
    features
        The `N_LISTED` most changed other features of each setting: ``key``, ``feature``, ``before``, ``after``,
        ``change``.
    """
    summary, listed = [], []
    for key, codes in after.items():
        change = codes - before
        is_other = np.ones(len(before), dtype=bool)
        is_other[edited[key]] = False
        size = np.where(is_other, np.abs(change), 0.0)
        order = np.argsort(-size, kind="stable")
        total = size.sum()
        n_moved = int(np.searchsorted(np.cumsum(size[order]), 0.9 * total) + 1) if total > 0 else 0
        summary.append((key, float(np.abs(change[~is_other]).sum()), float(total), n_moved))
        listed += [(key, f, before[f], codes[f], change[f]) for f in order[:N_LISTED] if size[f] > 0]
    return (
        pd.DataFrame(summary, columns=["key", "on_target", "off_target", "n_moved"]),
        pd.DataFrame(listed, columns=["key", "feature", "before", "after", "change"]),
    )


def _sum_over_tokens(codes: Codes) -> torch.Tensor:
    """``(d_sae,) float64``."""
    if codes.support is None:
        return codes.values.double().sum(0).cpu()
    total = torch.zeros(codes.d_sae, dtype=torch.float64)
    return total.index_add(0, codes.support.features.cpu(), codes.values.double().cpu())
