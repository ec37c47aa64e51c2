"""A correction of all thresholds that pulls L0 back to its target."""

from __future__ import annotations

from math import log

import torch
from torch import Tensor

from biosae.ops.support import per_feature
from biosae.saes.forward import ForwardOutput, Progress

FREE_FACTOR = 1.25
"""Within this factor of the wanted L0, thresholds are left to their gradients.

In short runs and large dictionaries pre-activations change faster than thresholds learn, which left L0 at 344 or at 6
where 32 was wanted: docs/variants.md.
"""
TIME_TO_COME_DOWN = 0.5
"""Share of the run over which the lower bound rises from 0: runs that start with few features learn better ones."""


@torch.no_grad()
def threshold_correction(
    forward: ForwardOutput, threshold: Tensor, wanted_l0: float, furthest_down: float, progress: Progress
) -> float:
    """Return the number to add to every threshold to bring the batch's L0 into the range that is left free.

    The excess of codes over their thresholds is assumed to be exponential with its own mean, so that
    ``l0(threshold + shift) = l0(threshold) * exp(-shift / mean)``. Downwards, where no code was seen, the correction
    is at most ``furthest_down``.

    Parameters
    ----------
    threshold
        ``(d_sae,)``.
    """
    codes, batch = forward.codes, forward.batch
    fires = codes.values > 0
    n_codes = int(batch.sum(fires.sum()))
    l0 = n_codes / forward.n_tokens
    fewest = progress.ramp(TIME_TO_COME_DOWN) * wanted_l0 / FREE_FACTOR
    nearest = min(max(l0, fewest), wanted_l0 * FREE_FACTOR)
    if l0 == nearest:
        return 0.0
    if n_codes == 0:
        return -furthest_down
    excess = batch.sum((codes.values - fires * per_feature(threshold, codes.support)).double().sum()).item()
    return max(excess / n_codes * log(l0 / nearest), -furthest_down)
