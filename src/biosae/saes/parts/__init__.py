"""Parts that SAE variants share."""

from .annealed_k import AnnealedK
from .auxk import auxk_loss
from .gate import Gate, gate_codes, gate_reconstruction_loss
from .init import bound_first_reconstruction
from .l0_controller import threshold_correction
from .nested import GroupFractions, nested_loss, prefix_widths
from .penalty import AnnealedPower, l1
from .selection import above, batch_top_k, gumbel_top_k, positive, top_k
from .straight_through import jump_relu, step
from .threshold import RunningThreshold

__all__ = [
    "AnnealedK", "AnnealedPower", "Gate", "GroupFractions", "RunningThreshold", "above", "auxk_loss", "batch_top_k",
    "bound_first_reconstruction", "gate_codes", "gate_reconstruction_loss", "gumbel_top_k",
    "jump_relu", "l1", "nested_loss", "positive", "prefix_widths", "step", "threshold_correction", "top_k",
]  # fmt: skip
