"""Loops for numba: importing this module needs it, so `compiled_search` imports it when it is first used."""

from __future__ import annotations

import numpy as np
from numba import njit


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
def search_rows(matrix, k, out_values, out_columns):
    """The ``k`` largest of every row by column, the first of equal ones; False when there was a NaN.

    Rows are alike, so a number somewhat below the last row's smallest leaves few candidates, rarely too few. What is
    found does not depend on it, nor on how rows are shared out to threads.
    """
    n_rows, width = matrix.shape
    values, columns, places = np.empty(width, np.float32), np.empty(width, np.int64), np.empty(width, np.float32)
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
        places[:n] = values[:n]
        smallest = kth_largest(places, n, k)
        n_equal = k
        for i in range(n):
            n_equal -= values[i] > smallest
        kept = 0
        for i in range(n):
            if values[i] > smallest or (values[i] == smallest and n_equal > 0):
                n_equal -= values[i] == smallest
                if kept < k:
                    out_values[row, kept], out_columns[row, kept] = values[i], columns[i]
                kept += 1
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
