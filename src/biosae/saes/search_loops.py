"""Loops for numba: importing this module needs it, so `compiled_search` imports it when it is first used."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(nogil=True, cache=True, error_model="numpy")
def keep_largest(values, columns, n, k):
    """Moves the ``k`` largest of the first ``n`` to the front (Hoare's selection)."""
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
                columns[i], columns[j] = columns[j], columns[i]
                i += 1
                j -= 1
        if k - 1 <= j:
            high = j
        elif k - 1 >= i:
            low = i
        else:
            return


@njit(nogil=True, cache=True, error_model="numpy")
def search_rows(matrix, k, out_values, out_columns):
    """The ``k`` largest of every row; False when there was a NaN, whose place among them is then not defined.

    Rows are alike, so a number somewhat below the last row's smallest leaves few candidates, rarely too few.
    """
    n_rows, width = matrix.shape
    values, columns = np.empty(width, np.float32), np.empty(width, np.int64)
    guess, is_clean = np.float32(-np.inf), True
    for row in range(n_rows):
        n = 0
        for column in range(width):
            value = matrix[row, column]
            values[n], columns[n] = value, column  # no branch: the place is taken again unless the entry counts
            n += value > guess
            is_clean &= value == value
        if n < k:
            n = width
            for column in range(width):
                values[column], columns[column] = matrix[row, column], column
        keep_largest(values, columns, n, k)
        smallest = values[0]
        for i in range(k):
            out_values[row, i], out_columns[row, i] = values[i], columns[i]
            smallest = min(smallest, values[i])
        guess = smallest - np.float32(0.2) * abs(smallest)
    return is_clean


@njit(nogil=True, cache=True, error_model="numpy")
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
