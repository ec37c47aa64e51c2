"""Loops that numba compiles when this module is imported, in a few seconds, and keeps on disk for the next process."""

from __future__ import annotations

from functools import partial

import numpy as np
from numba import bool_, float32, float64, int64, njit, void

N_BINS = 256

# Loops that threads call have their types written out, so that they are compiled at import, by one thread alone.
MATRIX, NUMBERS, PLACES = float32[:, ::1], float32[::1], int64[::1]
compiled = partial(njit, nogil=True, cache=True, error_model="numpy")
summed = partial(compiled, fastmath={"reassoc", "contract"})  # sums in any order, which lets them use vector registers


@compiled()
def kth_largest(values, n, k):
    """Return the ``k``-th largest of the first ``n`` values, which change places (Hoare's selection)."""
    low, high = 0, n - 1
    while low < high:
        pivot = values[(low + high) // 2]
        i, j = low, high
        while i <= j:
            while values[i] > pivot:
                i += 1
            while values[j] < pivot:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i += 1
                j -= 1
        if k - 1 <= j:
            high = j
        elif k - 1 >= i:
            low = i
        else:
            break
    return values[k - 1]


@compiled()
def kth_largest_by_bins(values, n, k, bins, places):
    """Return the ``k``-th largest of the first ``n`` values, which stay in place: of 256 bins one is searched.

    Counting has no branch to mispredict, which makes it several times faster on a hundred values. ``bins`` and
    ``places`` are room for ``n`` of them.
    """
    low = high = values[0]
    for i in range(n):
        low, high = min(low, values[i]), max(high, values[i])
    scale = np.float32(N_BINS - 1) / (high - low)
    if not 0 < scale < np.inf:  # all equal, one infinite, or too close together
        places[:n] = values[:n]
        return kth_largest(places, n, k)
    counts = np.zeros(N_BINS, np.int32)
    for i in range(n):
        bins[i] = np.uint8((values[i] - low) * scale)
        counts[bins[i]] += 1
    chosen, n_above = N_BINS - 1, 0
    while n_above + counts[chosen] < k:
        n_above += counts[chosen]
        chosen -= 1
    n_places = 0
    for i in range(n):
        places[n_places] = values[i]
        n_places += bins[i] == chosen
    return kth_largest(places, n_places, k - n_above)


@compiled()
def candidates(row, k, guess, values, columns):
    """Copy at least ``k`` entries: those above ``guess``, or a lower one, and every NaN; return their number."""
    for _ in range(4):
        n = 0
        for column in range(row.size):
            values[n], columns[n] = row[column], column  # no branch: the place is taken again unless the entry counts
            n += not (row[column] <= guess)
        if n >= k:
            return n
        if guess <= 0:
            break
        guess *= np.float32(0.6)
    for column in range(row.size):
        values[column], columns[column] = row[column], column
    return row.size


@compiled(bool_(MATRIX, int64, MATRIX, int64[:, ::1]))
def search_rows(matrix, k, out_values, out_columns):
    """Write the ``k`` largest of every row by column, the first of equal ones; return False if there was a NaN.

    Rows are alike, so a number somewhat below the last row's smallest leaves few candidates, rarely too few. What is
    found does not depend on it, nor on how rows are shared out to threads.
    """
    n_rows, width = matrix.shape
    values, columns = np.empty(width + 1, np.float32), np.empty(width + 1, np.int64)
    kept_values, kept_columns = np.empty(width + 1, np.float32), np.empty(width + 1, np.int64)
    bins, places = np.empty(width, np.uint8), np.empty(width + 1, np.float32)
    guess, is_clean = np.float32(-np.inf), True
    for row in range(n_rows):
        n = candidates(matrix[row], k, guess, values, columns)
        for i in range(n):
            is_clean &= values[i] == values[i]
        if not is_clean:
            return False
        smallest = kth_largest_by_bins(values, n, k, bins, places)
        n_equal = k
        for i in range(n):
            n_equal -= values[i] > smallest
        n_kept = 0
        for i in range(n):
            is_equal = values[i] == smallest
            kept_values[n_kept], kept_columns[n_kept] = values[i], columns[i]
            n_kept += (values[i] > smallest) | (is_equal & (n_equal > 0))
            n_equal -= is_equal
        out_values[row], out_columns[row] = kept_values[:k], kept_columns[:k]
        guess = smallest - np.float32(0.15) * abs(smallest)
    return True


@compiled(int64(MATRIX, NUMBERS, int64, PLACES, NUMBERS))
def search_above(matrix, lowest, first, out_positions, out_values):
    """Write positions, from ``first`` on, and values of entries above the column's ``lowest``; return their number."""
    n = 0
    n_rows, width = matrix.shape
    for row in range(n_rows):
        for column in range(width):
            value = matrix[row, column]
            out_positions[n], out_values[n] = first, value
            first += 1
            n += value > lowest[column]
    return n


@summed(void(MATRIX, MATRIX, PLACES, PLACES, int64, int64, NUMBERS))
def dot_products_of_rows(left, right, features, row_offsets, start, stop, out):
    """Write the products of the rows from ``start`` to ``stop``."""
    width = left.shape[1]
    for row in range(start, stop):
        own, entry, end = left[row], row_offsets[row], row_offsets[row + 1]
        while entry + 4 <= end:  # each number of the row is loaded once for four
            first, second = right[features[entry]], right[features[entry + 1]]
            third, fourth = right[features[entry + 2]], right[features[entry + 3]]
            a, b, c, d = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
            for column in range(width):
                a += own[column] * first[column]
                b += own[column] * second[column]
                c += own[column] * third[column]
                d += own[column] * fourth[column]
            out[entry], out[entry + 1], out[entry + 2], out[entry + 3] = a, b, c, d
            entry += 4
        for last in range(entry, end):
            one = right[features[last]]
            total = np.float32(0)
            for column in range(width):
                total += own[column] * one[column]
            out[last] = total


@compiled(void(PLACES, PLACES, PLACES, PLACES, PLACES))
def count_by_feature(features, row_offsets, next_place, out_entries, out_rows):
    """Sort entries by feature, by counting; ``next_place`` starts as the features' offsets and moves."""
    for row in range(row_offsets.size - 1):
        for entry in range(row_offsets[row], row_offsets[row + 1]):
            place = next_place[features[entry]]
            next_place[features[entry]] = place + 1
            out_entries[place], out_rows[place] = entry, row


@summed(void(MATRIX, MATRIX, bool_, int64, int64, NUMBERS, float64[::1]))
def gradient_squares(weights, gradient, has_unit_rows, start, stop, along, squares):
    """Write the squared norms of the gradient's rows; for rows of unit norm, less the part ``along`` the row itself."""
    for row in range(start, stop):
        w, g = weights[row], gradient[row]
        gg = np.float32(0)
        for i in range(g.size):
            gg += g[i] * g[i]
        squares[row] = gg
        if has_unit_rows:
            gw, ww = np.float32(0), np.float32(0)
            for i in range(g.size):
                gw += g[i] * w[i]
                ww += w[i] * w[i]
            along[row] = gw
            squares[row] = max(0.0, gg - gw * gw * (2.0 - ww))


@summed(void(MATRIX, MATRIX, MATRIX, MATRIX, NUMBERS, bool_, NUMBERS, int64, int64))
def adamw_rows(weights, gradient, means, squares, along, has_unit_rows, scalars, start, stop):
    """Step the rows from ``start`` to ``stop``, then set rows of unit norm to that again."""
    clip, decay, rate, new1, beta2, new2 = scalars[0], scalars[1], scalars[2], scalars[3], scalars[4], scalars[5]
    eps, spread = scalars[6], scalars[7]
    for row in range(start, stop):
        w, g, m, v, part = weights[row], gradient[row], means[row], squares[row], along[row]
        norm = np.float32(0)
        for i in range(w.size):
            slope = clip * (g[i] - part * w[i])
            m[i] += new1 * (slope - m[i])
            v[i] = beta2 * v[i] + new2 * slope * slope
            w[i] = decay * w[i] - rate * m[i] / (np.sqrt(v[i]) * spread + eps)
            norm += w[i] * w[i]
        if has_unit_rows:
            scale = np.float32(1) / max(np.sqrt(norm), np.finfo(np.float32).tiny)
            for i in range(w.size):
                w[i] *= scale
