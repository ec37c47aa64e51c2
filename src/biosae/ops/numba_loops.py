"""Loops for numba: importing this module needs it, so `compiled` does it when it is first used."""

from __future__ import annotations

import numpy as np
from numba import bool_, float32, int64, njit, void

N_BINS = 256

# What threads call has its types written out, so that it is compiled when this module is imported, by one thread alone.
MATRIX, NUMBERS, PLACES = float32[:, ::1], float32[::1], int64[::1]


@njit(nogil=True, cache=True, error_model="numpy")
def kth_largest(values, n, k):
    """The ``k``-th largest of the first ``n``, which change places (Hoare's selection)."""
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


@njit(nogil=True, cache=True, error_model="numpy")
def kth_largest_by_bins(values, n, k, bins, places):
    """The same, exactly, with the values left in place: all are counted into bins, one bin is searched.

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


@njit(nogil=True, cache=True, error_model="numpy")
def candidates(row, k, guess, values, columns):
    """Copies the entries above ``guess`` (and every NaN), or a lower one, at least ``k``; gives how many."""
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


@njit(bool_(MATRIX, int64, MATRIX, int64[:, ::1]), nogil=True, cache=True, error_model="numpy")
def search_rows(matrix, k, out_values, out_columns):
    """The ``k`` largest of every row by column, the first of equal ones; False when there was a NaN.

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


@njit(int64(MATRIX, NUMBERS, int64, PLACES, NUMBERS), nogil=True, cache=True, error_model="numpy")
def search_above(matrix, lowest, first, out_positions, out_values):
    """Positions (from ``first`` on) and values of the entries above ``lowest``, one number a column; gives how many."""
    n = 0
    n_rows, width = matrix.shape
    for row in range(n_rows):
        for column in range(width):
            value = matrix[row, column]
            out_positions[n], out_values[n] = first, value
            first += 1
            n += value > lowest[column]
    return n


@njit(
    void(MATRIX, MATRIX, PLACES, PLACES, int64, int64, NUMBERS),
    nogil=True,
    cache=True,
    error_model="numpy",
    fastmath={"reassoc", "contract"},
)
def dot_products(left, right, features, row_offsets, start, stop, out):
    """For the rows from ``start`` to ``stop``; sums may be taken in any order, which lets them use vector registers."""
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


@njit(void(PLACES, PLACES, PLACES, PLACES, PLACES), nogil=True, cache=True, error_model="numpy")
def by_feature(features, row_offsets, next_place, out_entries, out_rows):
    """Entries in the order of their features, by counting; ``next_place`` starts as the features' offsets and moves."""
    for row in range(row_offsets.size - 1):
        for entry in range(row_offsets[row], row_offsets[row + 1]):
            place = next_place[features[entry]]
            next_place[features[entry]] = place + 1
            out_entries[place], out_rows[place] = entry, row
