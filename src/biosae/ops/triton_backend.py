"""GPU kernels: products and searches that read each matrix once, in its own type, and add up in float32.

Nothing is added up by several programs at once, so results are the same every time. A search finds, by one kernel,
the groups of columns with the largest maxima; a second one searches only these. Both find the ``k``-th largest number
bit by bit, by counting how many are at least as large.
"""

from __future__ import annotations

from math import isqrt
from typing import TYPE_CHECKING

import torch
import triton
import triton.language as tl
from torch import Tensor

from . import torch_backend

if TYPE_CHECKING:
    from .support import Support

ENTRIES, COLUMNS = 16, 128
"""Rows gathered together, and the part of each: 2,048 numbers, 16 for each of 128 threads."""

MOST_GROUPS = 8192
MOST_CANDIDATES = 16_384


def weighted_sums(weights: Tensor, rows: Tensor, offsets: Tensor, matrix: Tensor) -> Tensor:
    """See `sparse_products.weighted_sums`; sums are of the type of the weights."""
    matrix = matrix.contiguous()
    n_sums, width = len(offsets) - 1, matrix.shape[1]
    sums = weights.new_empty(n_sums, width)
    if sums.numel():
        grid = n_sums, triton.cdiv(width, COLUMNS)
        _weighted_sums_kernel[grid](weights, rows, offsets, matrix, sums, width, ENTRIES=ENTRIES, COLUMNS=COLUMNS)
    return sums


def dot_products(support: Support, left: Tensor, right: Tensor) -> Tensor:
    """See `sparse_products.dot_products`; products are float32."""
    left, right = left.contiguous(), right.contiguous()
    products = left.new_empty(len(support.features), dtype=torch.float32)
    if len(support.features):
        _dot_products_kernel[(len(left),)](
            left, right, support.features, support.row_offsets, products, left.shape[1],
            ENTRIES=ENTRIES, COLUMNS=COLUMNS,
        )  # fmt: skip
    return products


def largest_in_rows(matrix: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """See `topk_search.largest_in_rows`; searches that no program has room for are left to torch."""
    n_rows, width = matrix.shape
    if not _has_room(width, k):
        return torch_backend.largest_in_rows(matrix, k)
    matrix = matrix.contiguous()
    members = _members(width, k)
    n_groups, bits = triton.cdiv(width, members), 16 if matrix.dtype == torch.bfloat16 else 32
    groups = torch.empty(n_rows, k, dtype=torch.int32, device=matrix.device)
    values, columns = matrix.new_empty(n_rows, k), matrix.new_empty(n_rows, k, dtype=torch.int64)
    if values.numel():
        GROUPS = triton.next_power_of_2(n_groups)
        _strongest_groups[(n_rows,)](
            matrix, groups, width, n_groups, k, MEMBERS=members, GROUPS=GROUPS, BITS=bits, num_warps=_warps(GROUPS)
        )
        PLACES = triton.next_power_of_2(k)
        _largest_members[(n_rows,)](
            matrix, groups, values, columns, width, n_groups, k,
            MEMBERS=members, PLACES=PLACES, BITS=bits, num_warps=_warps(PLACES * members),
        )  # fmt: skip
    return values, columns


def _has_room(width: int, k: int) -> bool:
    """Return True where a program has room for the groups of such a row, and for their members."""
    members = _members(width, k)
    return k <= width // members and triton.next_power_of_2(k) * members <= MOST_CANDIDATES


def _members(width: int, k: int) -> int:
    """Return the columns of a group, a power of two near ``sqrt(width / k)``: both searches then read equally many."""
    members = 1 << (isqrt(max(1, width // k)).bit_length() - 1)
    while triton.cdiv(width, members) > MOST_GROUPS:
        members *= 2
    return members


def _warps(n_numbers: int) -> int:
    return min(16, max(1, n_numbers // 256))


@triton.jit
def _weighted_sums_kernel(weights, rows, offsets, matrix, sums, width, ENTRIES: tl.constexpr, COLUMNS: tl.constexpr):
    """One program per sum and block of columns."""
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
def _dot_products_kernel(
    left, right, features, row_offsets, products, width, ENTRIES: tl.constexpr, COLUMNS: tl.constexpr
):
    """One program per row of ``left``."""
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


@triton.jit
def _strongest_groups(
    matrix, groups, width, n_groups, k, MEMBERS: tl.constexpr, GROUPS: tl.constexpr, BITS: tl.constexpr
):
    """One program per row; column ``c`` belongs to group ``c % n_groups``."""
    row = tl.program_id(0).to(tl.int64)
    group = tl.arange(0, GROUPS)
    strongest = tl.zeros((GROUPS,), dtype=tl.uint32)
    for member in tl.static_range(MEMBERS):
        columns = member * n_groups + group
        exists = (group < n_groups) & (columns < width)
        values = tl.load(matrix + row * width + columns, mask=exists, other=0)
        strongest = tl.maximum(strongest, tl.where(exists, _ordered(values, BITS), 0))
    chosen = _among_largest(strongest, k, BITS)
    tl.store(groups + row * k + tl.cumsum(chosen, 0) - 1, group, mask=chosen != 0)


@triton.jit
def _largest_members(
    matrix, groups, values, columns, width, n_groups, k,
    MEMBERS: tl.constexpr, PLACES: tl.constexpr, BITS: tl.constexpr,
):  # fmt: skip
    """One program per row."""
    row = tl.program_id(0).to(tl.int64)
    candidates = tl.arange(0, PLACES * MEMBERS)
    place, member = candidates // MEMBERS, candidates % MEMBERS
    column = member * n_groups + tl.load(groups + row * k + place, mask=place < k, other=0)
    exists = (place < k) & (column < width)
    value = tl.load(matrix + row * width + column, mask=exists, other=0)
    chosen = _among_largest(tl.where(exists, _ordered(value, BITS), 0), k, BITS)
    here = row * k + tl.cumsum(chosen, 0) - 1
    tl.store(values + here, value, mask=chosen != 0)
    tl.store(columns + here, column.to(tl.int64), mask=chosen != 0)


@triton.jit
def _ordered(values, BITS: tl.constexpr):
    """Integers above 0 ordered like the values, NaN the largest; a bfloat16 is told by its upper 16 bits."""
    wide = values.to(tl.float32)
    bits = wide.to(tl.uint32, bitcast=True)
    bits = bits ^ tl.where((bits >> 31) != 0, 0xFFFFFFFF, 0x80000000).to(tl.uint32)
    return tl.where(wide != wide, 0xFFFFFFFF, bits).to(tl.uint32) >> (32 - BITS)


@triton.jit
def _among_largest(numbers, k, BITS: tl.constexpr):
    """1 for the ``k`` largest of the numbers, the first of those equal to the smallest of them; else 0."""
    kth, bit = tl.full((), 0, dtype=tl.uint32), tl.full((), 1 << (BITS - 1), dtype=tl.uint32)
    for _ in range(BITS):
        kth = tl.where(tl.sum((numbers >= (kth | bit)).to(tl.int32), 0) >= k, kth | bit, kth)
        bit = bit >> 1
    above, equal = (numbers > kth).to(tl.int32), (numbers == kth).to(tl.int32)
    wanted = k - tl.sum(above, 0)
    return above + tl.where(tl.cumsum(equal, 0) <= wanted, equal, 0)
