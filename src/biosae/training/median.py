"""The point with the smallest summed distance to others."""

from __future__ import annotations

from torch import Tensor


def geometric_median(points: Tensor, tolerance: float = 1e-6, max_iterations: int = 200) -> Tensor:
    """``(d,)`` geometric median of ``(n, d)`` points, by Weiszfeld's iteration in float64.

    Distances are bounded from below, so that a point that equals the estimate does no harm.
    """
    points = points.double()
    median = points.mean(0)
    spread = (points - median).norm(dim=1).mean()
    for _ in range(max_iterations):
        weights = 1 / (points - median).norm(dim=1).clamp(min=1e-9 * spread + 1e-300)
        following = (weights[:, None] * points).sum(0) / weights.sum()
        moved = (following - median).norm()
        median = following
        if moved <= tolerance * spread:
            break
    return median
