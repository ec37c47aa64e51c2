"""The GPU kernels through Triton's compiler, which takes less than its interpreter does; no GPU is needed for that."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytest.importorskip("triton")

COMPILE = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from biosae.ops import triton_backend as kernels

FLOATS, NUMBERS, WHOLE = "*fp32", "*i64", ["i32"] * 3
ROWS = {"ENTRIES": kernels.ENTRIES, "COLUMNS": kernels.COLUMNS}
CASES = [
    (kernels._weighted_sums_kernel, [FLOATS, NUMBERS, NUMBERS, "*bf16", FLOATS, "i32"], ROWS),
    (kernels._dot_products_kernel, ["*bf16", "*bf16", NUMBERS, NUMBERS, FLOATS, "i32"], ROWS),
]
for matrix, bits in (("*bf16", 16), ("*fp32", 32)):
    sizes = {"MEMBERS": 8, "BITS": bits}
    CASES += [
        (kernels._strongest_groups, [matrix, "*i32", *WHOLE], sizes | {"GROUPS": 1024}),
        (kernels._largest_members, [matrix, "*i32", matrix, NUMBERS, *WHOLE], sizes | {"PLACES": 64}),
    ]
for kernel, types, sizes in CASES:
    signature = dict.fromkeys(sizes, "constexpr") | dict(zip(kernel.arg_names, types))
    source = ASTSource(fn=kernel, signature=signature, constexprs=sizes)
    for compute_capability in (80, 90):  # A100, H100
        assert triton.compile(source, target=GPUTarget("cuda", compute_capability, 32)).asm["cubin"]
print(len(CASES))
"""


def test_every_kernel_compiles(tmp_path):
    environment = {**os.environ, "TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", COMPILE], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["6"]
