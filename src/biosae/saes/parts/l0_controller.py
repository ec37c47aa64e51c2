"""How far all thresholds move together when a batch keeps far more or fewer features than wanted."""

from __future__ import annotations

from math import log

import torch
from torch import Tensor

from biosae.ops.support import per_feature
from biosae.saes.forward import ForwardOutput, Progress

FREE_FACTOR = 1.25
"""Up to this factor from the wanted L0 thresholds are left to their gradients.

In short runs and large dictionaries pre-activations change faster than thresholds learn, which left L0 at 344 or at 6
where 32 was wanted: docs/variants.md.
"""
TIME_TO_COME_DOWN = 0.5
"""Share of the run over which the lower of the two bounds rises from 0: few features at first learn better ones."""


@torch.no_grad()
def threshold_correction(
    forward: ForwardOutput, threshold: Tensor, wanted_l0: float, furthest_down: float, progress: Progress
) -> float:
    """What to add to every threshold, so that the batch would keep a number of features that is left free.

    The codes' excess over their thresholds is taken for exponential with its own mean, so that
    ``l0(threshold + shift) = l0(threshold) * exp(-shift / mean)``. Downwards, where no code was seen, it moves at most
    by ``furthest_down``.

    Parameters
    ----------
    threshold
        ``(d_sae,)``, or of the features here.
    """
    codes, total = forward.codes, forward.pre.holders.total
    fires = codes.values > 0
    n_codes = int(total(fires.sum()))
    l0 = n_codes / forward.n_tokens
    fewest = progress.ramp(TIME_TO_COME_DOWN) * wanted_l0 / FREE_FACTOR
    nearest = min(max(l0, fewest), wanted_l0 * FREE_FACTOR)
    if l0 == nearest:
        return 0.0
    if n_codes == 0:
        return -furthest_down
    excess = total((codes.values - fires * per_feature(threshold, codes.support)).double().sum()).item()
    return max(excess / n_codes * log(l0 / nearest), -furthest_down)
