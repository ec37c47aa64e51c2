"""The products of `sparse` as GPU kernels: importing this needs Triton, so `sparse` does it when they are first used.

Nothing is added up by several programs at once, so results are the same every time. Rows are read in their own type
and added up in float32.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

ENTRIES, COLUMNS = 16, 128
"""Rows gathered at once, and how much of each: 2,048 numbers, 16 for each of 128 threads."""


def weighted_sums(weights: Tensor, rows: Tensor, offsets: Tensor, matrix: Tensor) -> Tensor:
    """See `sparse.weighted_sums`; of the type of the weights."""
    matrix = matrix.contiguous()
    n_sums, width = len(offsets) - 1, matrix.shape[1]
    sums = weights.new_empty(n_sums, width)
    if sums.numel():
        grid = n_sums, triton.cdiv(width, COLUMNS)
        _weighted_sums[grid](weights, rows, offsets, matrix, sums, width, ENTRIES=ENTRIES, COLUMNS=COLUMNS)
    return sums


def dot_products(left: Tensor, right: Tensor, features: Tensor, row_offsets: Tensor) -> Tensor:
    """``(n_entries,) float32`` products of each row of ``left`` with the rows of ``right`` that it has as features."""
    left, right = left.contiguous(), right.contiguous()
    products = left.new_empty(len(features), dtype=torch.float32)
    if len(features):
        _dot_products[(len(left),)](
            left, right, features, row_offsets, products, left.shape[1], ENTRIES=ENTRIES, COLUMNS=COLUMNS
        )
    return products


def try_out(device: torch.device) -> None:
    """One sum of nothing; raises what Triton raises where it cannot build a kernel."""
    offsets = torch.zeros(2, dtype=torch.int64, device=device)
    weighted_sums(torch.zeros(0, device=device), offsets[:0], offsets, torch.zeros(1, 1, device=device))


@triton.jit
def _weighted_sums(weights, rows, offsets, matrix, sums, width, ENTRIES: tl.constexpr, COLUMNS: tl.constexpr):
    """One program a sum and block of columns."""
    number = tl.program_id(0).to(tl.int64)
    columns = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    first, end = tl.load(offsets + number), tl.load(offsets + number + 1)
    total = tl.zeros((ENTRIES, COLUMNS), dtype=tl.float32)  # added up at the end: threads need not wait for each other
    for start in range(first, end, ENTRIES):
        entries = start + tl.arange(0, ENTRIES)
        row = tl.load(rows + entries, mask=entries < end, other=0)
        weight = tl.load(weights + entries, mask=entries < end, other=0).to(tl.float32)
        exists = (entries < end)[:, None] & (columns < width)[None, :]
        values = tl.load(matrix + row[:, None] * width + columns[None, :], mask=exists, other=0).to(tl.float32)
        total += weight[:, None] * values
    total = tl.sum(total, axis=0)
    tl.store(sums + number * width + columns, total.to(sums.dtype.element_ty), mask=columns < width)


@triton.jit
def _dot_products(left, right, features, row_offsets, products, width, ENTRIES: tl.constexpr, COLUMNS: tl.constexpr):
    """One program a row of ``left``."""
    row = tl.program_id(0).to(tl.int64)
    first, end = tl.load(row_offsets + row), tl.load(row_offsets + row + 1)
    for start in range(first, end, ENTRIES):
        entries = start + tl.arange(0, ENTRIES)
        feature = tl.load(features + entries, mask=entries < end, other=0)
        total = tl.zeros((ENTRIES,), dtype=tl.float32)
        for column in range(0, width, COLUMNS):
            columns = column + tl.arange(0, COLUMNS)
            one = tl.load(left + row * width + columns, mask=columns < width, other=0).to(tl.float32)
            exists = (entries < end)[:, None] & (columns < width)[None, :]
            others = tl.load(right + feature[:, None] * width + columns[None, :], mask=exists, other=0).to(tl.float32)
            total += tl.sum(others * one[None, :], axis=1)
        tl.store(products + entries, total, mask=entries < end)
