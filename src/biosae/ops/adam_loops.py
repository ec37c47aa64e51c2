"""Loops for numba: importing this module needs it, so `update` does it when it is first used."""

from __future__ import annotations

import numpy as np
from numba import boolean, float32, float64, int64, njit, void

MATRIX, NUMBERS = float32[:, ::1], float32[::1]
ANY_ORDER = {"reassoc", "contract"}  # of sums, which lets them use vector registers


@njit(
    void(MATRIX, MATRIX, boolean, int64, int64, NUMBERS, float64[::1]),
    nogil=True,
    cache=True,
    error_model="numpy",
    fastmath=ANY_ORDER,
)
def measure(weights, gradient, is_held, start, stop, along, squares):
    """Squared norm of every row of the gradient, of ``is_held`` rows without its part ``along`` the row itself."""
    for row in range(start, stop):
        w, g = weights[row], gradient[row]
        gg = np.float32(0)
        for i in range(g.size):
            gg += g[i] * g[i]
        squares[row] = gg
        if is_held:
            gw, ww = np.float32(0), np.float32(0)
            for i in range(g.size):
                gw += g[i] * w[i]
                ww += w[i] * w[i]
            along[row] = gw
            squares[row] = max(0.0, gg - gw * gw * (2.0 - ww))


@njit(
    void(MATRIX, MATRIX, MATRIX, MATRIX, NUMBERS, boolean, NUMBERS, int64, int64),
    nogil=True,
    cache=True,
    error_model="numpy",
    fastmath=ANY_ORDER,
)
def adam(weights, gradient, means, squares, along, is_held, numbers, start, stop):
    """One step; ``is_held`` rows then get unit norm again."""
    clip, decay, rate, new1, beta2, new2 = numbers[0], numbers[1], numbers[2], numbers[3], numbers[4], numbers[5]
    eps, spread = numbers[6], numbers[7]
    for row in range(start, stop):
        w, g, m, v, part = weights[row], gradient[row], means[row], squares[row], along[row]
        norm = np.float32(0)
        for i in range(w.size):
            slope = clip * (g[i] - part * w[i])
            m[i] += new1 * (slope - m[i])
            v[i] = beta2 * v[i] + new2 * slope * slope
            w[i] = decay * w[i] - rate * m[i] / (np.sqrt(v[i]) * spread + eps)
            norm += w[i] * w[i]
        if is_held:
            scale = np.float32(1) / max(np.sqrt(norm), np.finfo(np.float32).tiny)
            for i in range(w.size):
                w[i] *= scale
