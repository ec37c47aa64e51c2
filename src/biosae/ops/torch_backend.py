"""Every operation by torch's operators: the reference for other backends, and the fallback on any device and type."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from . import buffer_pool
from .adam import normalize_rows_, project_gradient_

if TYPE_CHECKING:
    from .support import Support

PART_VALUES = 1 << 20
"""Numbers of a large result that are computed together: 4 MB."""


def largest_in_rows(matrix: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """See `topk_search.largest_in_rows`.

    Columns are first joined into groups of ``g``, far apart. The ``k`` groups with the largest maxima
    hold the ``k`` largest entries, so only ``g * k`` candidates are searched.
    """
    n_rows, width = matrix.shape
    g = _group_size(width, k)
    if g == 1:
        return matrix.topk(k, sorted=False)
    n_groups = width // g
    groups = matrix.view(n_rows, g, n_groups).amax(1).topk(k, sorted=False).indices
    members = torch.arange(g, device=matrix.device) * n_groups
    candidates = (groups[:, None, :] + members[:, None]).view(n_rows, g * k)
    values, chosen = matrix.gather(1, candidates).topk(k, sorted=False)
    return values, candidates.gather(1, chosen)


def _group_size(width: int, k: int) -> int:
    """The power of two near ``sqrt(width / k)`` that divides the width: both stages then search equally many."""
    g = 1
    while (2 * g) ** 2 * k <= 2 * width and width % (2 * g) == 0:
        g *= 2
    return g if width > 256 else 1


def entries_above(matrix: Tensor, lowest: Tensor | float) -> tuple[Tensor, Tensor]:
    """See `topk_search.entries_above`."""
    found = (matrix > lowest).view(-1).nonzero().squeeze(1)
    return found, matrix.view(-1).index_select(0, found)


def weighted_sums(weights: Tensor, rows: Tensor, offsets: Tensor, matrix: Tensor) -> Tensor:
    """See `sparse_products.weighted_sums`; on CPUs ``embedding_bag`` is about twice as fast as CSR products."""
    is_large = (len(offsets) - 1) * matrix.shape[1] > buffer_pool.LARGE
    if is_large and matrix.is_cpu and matrix.dtype == torch.float32:
        return _large_weighted_sums(weights, rows, offsets, matrix)
    return _bags(weights, rows, offsets, matrix)


def _large_weighted_sums(weights: Tensor, rows: Tensor, offsets: Tensor, matrix: Tensor) -> Tensor:
    """Sums in blocks: each stays in the cache until it is copied into a reused buffer."""
    n, width = len(offsets) - 1, matrix.shape[1]
    sums, n_together = buffer_pool.take(n, width), max(1, PART_VALUES // width)
    for start in range(0, n, n_together):
        part = offsets[start : start + n_together + 1]
        entries = slice(int(part[0]), int(part[-1]))
        sums[start : start + n_together] = _bags(weights[entries], rows[entries], part - part[0], matrix)
    return sums


def _bags(weights: Tensor, rows: Tensor, offsets: Tensor, matrix: Tensor) -> Tensor:
    return nn.functional.embedding_bag(
        rows, matrix, offsets, mode="sum", per_sample_weights=weights, include_last_offset=True
    )


def dot_products(support: Support, left: Tensor, right: Tensor) -> Tensor:
    """See `sparse_products.dot_products`."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta")
        pattern = torch.sparse_csr_tensor(
            support.row_offsets,
            support.features,
            left.new_zeros(len(support.features)),
            (support.n_rows, support.d_sae),
            check_invariants=False,
        )
    return torch.sparse.sampled_addmm(pattern, left, right.t(), beta=0).values()


def by_feature(support: Support, offsets: Tensor) -> tuple[Tensor, Tensor]:
    """Return numbers and rows of entries, by feature and then by row; ``offsets`` are the features'."""
    narrow = support.features.to(torch.int16 if support.d_sae <= 1 << 15 else torch.int32)  # sorts twice as fast
    entries = narrow.sort(stable=True).indices
    return entries, support.rows.index_select(0, entries)


def adamw_step(
    parameters: Sequence[nn.Parameter],
    optimizer: Optimizer,
    scaler: torch.amp.GradScaler,
    max_grad_norm: float,
    unit_rows: nn.Parameter | None,
) -> None:
    """See `adam.adamw_step`; each operator goes through whole matrices."""
    scaler.unscale_(optimizer)
    if unit_rows is not None:
        project_gradient_(unit_rows)
    nn.utils.clip_grad_norm_(parameters, max_grad_norm)
    scaler.step(optimizer)
    scaler.update()
    if unit_rows is not None:
        normalize_rows_(unit_rows)
