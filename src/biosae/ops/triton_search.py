"""The search of `topk_search` for the largest entries of rows as GPU kernels; see `kernels` for who imports this.

Every entry of the matrix is read once, by a kernel that finds the groups of columns with the largest maxima; a second
one searches only these. Both find the ``k``-th largest number bit by bit, by counting how many are at least as large.
"""

from __future__ import annotations

from math import isqrt

import torch
import triton
import triton.language as tl
from torch import Tensor

MOST_GROUPS = 8192
MOST_CANDIDATES = 16_384


def fits(width: int, k: int) -> bool:
    """Whether a program has room for the groups of such a row, and for their members."""
    members = _members(width, k)
    return k <= width // members and triton.next_power_of_2(k) * members <= MOST_CANDIDATES


def largest_in_rows(matrix: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """See `topk_search.largest_in_rows`."""
    matrix = matrix.contiguous()
    n_rows, width = matrix.shape
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


def try_out(device: torch.device) -> None:
    """One search; raises what Triton raises where it cannot build a kernel."""
    largest_in_rows(torch.zeros(1, 2, device=device), 1)


def _members(width: int, k: int) -> int:
    """Columns of a group, a power of two near ``sqrt(width / k)``: both searches then read alike much."""
    members = 1 << (isqrt(max(1, width // k)).bit_length() - 1)
    while triton.cdiv(width, members) > MOST_GROUPS:
        members *= 2
    return members


def _warps(n_numbers: int) -> int:
    return min(16, max(1, n_numbers // 256))


@triton.jit
def _strongest_groups(
    matrix, groups, width, n_groups, k, MEMBERS: tl.constexpr, GROUPS: tl.constexpr, BITS: tl.constexpr
):
    """One program a row; column ``c`` belongs to group ``c % n_groups``."""
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
    """One program a row."""
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
    """Whole numbers above 0 ordered like the values, NaN the largest; of a bfloat16 the upper 16 bits say all."""
    wide = values.to(tl.float32)
    bits = wide.to(tl.uint32, bitcast=True)
    bits = bits ^ tl.where((bits >> 31) != 0, 0xFFFFFFFF, 0x80000000).to(tl.uint32)
    return tl.where(wide != wide, 0xFFFFFFFF, bits).to(tl.uint32) >> (32 - BITS)


@triton.jit
def _among_largest(numbers, k, BITS: tl.constexpr):
    """1 for the ``k`` largest of the numbers, of those equal to the smallest of them for the first; else 0."""
    kth, bit = tl.full((), 0, dtype=tl.uint32), tl.full((), 1 << (BITS - 1), dtype=tl.uint32)
    for _ in range(BITS):
        kth = tl.where(tl.sum((numbers >= (kth | bit)).to(tl.int32), 0) >= k, kth | bit, kth)
        bit = bit >> 1
    above, equal = (numbers > kth).to(tl.int32), (numbers == kth).to(tl.int32)
    wanted = k - tl.sum(above, 0)
    return above + tl.where(tl.cumsum(equal, 0) <= wanted, equal, 0)
