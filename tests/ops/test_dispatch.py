"""Every backend in the table against torch, and the choice between them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from subprocess import CalledProcessError
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
import torch
from torch import Tensor, nn

from biosae.ops import dispatch, torch_backend
from biosae.ops.dispatch import TABLE, implementation, supports
from biosae.ops.support import Support

from .backends import device_of, module_of

K = 3


class Inputs:
    """Random inputs, the same for the same seed; ``has_nan`` puts one NaN into each matrix."""

    def __init__(self, n_rows: int, d_sae: int, width: int, has_nan: bool, dtype: torch.dtype, device: torch.device):
        self.n_rows, self.d_sae, self.width, self.has_nan, self.dtype, self.device = (
            n_rows, d_sae, width, has_nan, dtype, device,
        )  # fmt: skip
        self.generator = torch.Generator().manual_seed(n_rows + d_sae)

    def normal(self, *shape: int) -> Tensor:
        numbers = torch.randn(*shape, generator=self.generator).to(self.device, self.dtype)
        if self.has_nan and numbers.ndim == 2 and numbers.numel():
            numbers[-1, -1] = float("nan")
        return numbers

    def tied(self) -> Tensor:
        """A matrix of a few distinct values."""
        return self.normal(self.n_rows, self.d_sae).mul(2).round()

    def support(self) -> Support:
        mask = torch.rand(self.n_rows, self.d_sae, generator=self.generator) < 0.3
        return Support.from_mask(mask.to(self.device))

    def sums(self) -> tuple[Tensor, ...]:
        support = self.support()
        weights = self.normal(len(support.features))
        return weights, support.features, support.row_offsets, self.normal(self.d_sae, self.width)

    def products(self) -> tuple[Any, ...]:
        return self.support(), self.normal(self.n_rows, self.width), self.normal(self.d_sae, self.width)

    def by_feature(self) -> tuple[Support, Tensor]:
        support = self.support()
        return support, nn.functional.pad(support.counts.cumsum(0), (1, 0))

    def update(self) -> tuple[Any, ...]:
        """A decoder of unit rows, an encoder stored transposed and a bias, with gradients that are clipped.

        Without NaN: training stops before the update where the loss is not finite.
        """
        self.has_nan = False
        decoder = nn.functional.normalize(self.normal(self.d_sae, self.width), dim=1)
        values = decoder, self.normal(self.d_sae, self.width).t(), self.normal(self.width)
        parameters = [nn.Parameter(value) for value in values]
        for parameter in parameters:
            parameter.grad = torch.empty_like(parameter).copy_(self.normal(*parameter.shape))
        optimizer = torch.optim.AdamW(parameters, lr=1e-2, weight_decay=0.1)
        return parameters, optimizer, torch.amp.GradScaler("cpu", enabled=False), 0.5, parameters[0]


def largest(arguments: tuple, found: tuple[Tensor, Tensor]) -> list[Tensor]:
    """Of equal entries any columns count, none twice."""
    (matrix, _), (values, columns) = arguments, found
    assert torch.equal(matrix.gather(1, columns).isnan(), values.isnan())
    assert torch.equal(matrix.gather(1, columns).nan_to_num(), values.nan_to_num())
    assert all(len(set(row)) == len(row) for row in columns.tolist())
    return [values.sort(1, descending=True).values]


def updated(arguments: tuple, found: None) -> list[Tensor]:
    parameters, optimizer, *_ = arguments
    return [*(p.detach() for p in parameters), *(optimizer.state[p]["exp_avg_sq"] for p in parameters)]


@dataclass(frozen=True)
class Contract:
    """Arguments of an operation, the comparable part of its result, and the tolerance."""

    arguments: Callable[[Inputs], tuple]
    outcome: Callable[[tuple, Any], list[Tensor]] = lambda arguments, found: list(found)
    tolerance: float = 0.0


CONTRACTS = {
    "largest_in_rows": Contract(lambda inputs: (inputs.tied(), min(K, inputs.d_sae)), largest),
    "entries_above": Contract(lambda inputs: (inputs.tied(), inputs.normal(inputs.d_sae))),
    # Sums of at most 133 float32 products of order one, in another order.
    "weighted_sums": Contract(Inputs.sums, lambda _, found: [found], tolerance=1e-4),
    "dot_products": Contract(Inputs.products, lambda _, found: [found], tolerance=1e-4),
    "by_feature": Contract(Inputs.by_feature),
    # One step of 0.01 of weights of order one.
    "adamw_step": Contract(Inputs.update, updated, tolerance=1e-6),
}
CELLS = [(name, backend, dtype) for name, row in TABLE.items() for backend, dtypes in row.items() for dtype in dtypes]
SHAPES = [(0, 7, 3), (1, 1, 1), (23, 40, 133), (9, 1030, 5)]


@pytest.mark.parametrize("has_nan", [False, True], ids=["finite", "nan"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("operation", "backend", "dtype"), CELLS)
def test_a_backend_equals_torch(operation, backend, dtype, shape, has_nan):
    """torch reads the same numbers as float32, which holds those of the narrower types exactly."""
    contract, dtype = CONTRACTS[operation], dtype if dtype.is_floating_point else torch.float32
    given, same = (contract.arguments(Inputs(*shape, has_nan, dtype, device_of(backend))) for _ in range(2))
    same = tuple(as_float32(argument) for argument in same)
    with torch.no_grad():
        found = contract.outcome(given, getattr(module_of(backend), operation)(*given))
        expected = contract.outcome(same, getattr(torch_backend, operation)(*same))
    # Narrow weights make narrow sums: 8 bits of bfloat16.
    tolerance = 2**-7 if operation == "weighted_sums" and dtype != torch.float32 else contract.tolerance
    for mine, reference in zip(found, expected, strict=True):
        torch.testing.assert_close(mine.to(reference.dtype), reference, rtol=tolerance, atol=tolerance, equal_nan=True)


def as_float32(argument: Any) -> Any:
    is_narrow = isinstance(argument, Tensor) and argument.is_floating_point()
    return argument.float() if is_narrow else argument


def test_every_operation_of_the_table_has_a_contract_and_a_reference():
    assert CONTRACTS.keys() == TABLE.keys()
    assert all(hasattr(torch_backend, operation) for operation in TABLE)


def test_contiguous_float32_on_a_cpu_goes_to_numba():
    numba_backend, matrix = module_of("numba"), torch.zeros(2, 3)
    assert implementation("largest_in_rows", matrix) is numba_backend.largest_in_rows
    for other in (matrix.double(), matrix.t(), matrix.long()):
        assert implementation("largest_in_rows", other) is torch_backend.largest_in_rows
    assert implementation("dot_products", matrix, matrix.double()) is torch_backend.dot_products


def on_gpu(dtype: torch.dtype) -> SimpleNamespace:
    """The attributes of a matrix that the choice reads; most machines with tests have no GPU for a real one."""
    return SimpleNamespace(is_cuda=True, is_cpu=False, dtype=dtype, device=device_of("triton"))


@pytest.fixture
def forgetful():
    """Looks for backends anew in the test and after it."""
    dispatch.load.cache_clear()
    yield
    dispatch.load.cache_clear()


def test_narrow_floats_on_a_gpu_go_to_triton():
    kernels = module_of("triton")
    for dtype in (torch.bfloat16, torch.float32):
        assert implementation("weighted_sums", on_gpu(dtype)) is kernels.weighted_sums
    assert not supports("triton", "weighted_sums", on_gpu(torch.float64))
    assert not supports("triton", "weighted_sums", torch.zeros(2, 2, device="cpu"))
    assert not supports("triton", "entries_above", on_gpu(torch.float32))


def test_without_triton_torch_does_it(forgetful, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "triton", None)
    assert implementation("weighted_sums", on_gpu(torch.float32)) is torch_backend.weighted_sums
    assert not caplog.messages


FAILURES = [RuntimeError("no C compiler"), CalledProcessError(1, "gcc"), FileNotFoundError("cc")]


@pytest.mark.parametrize("reason", FAILURES)
def test_where_triton_cannot_build_torch_does_it_and_the_log_says_so(reason, forgetful, monkeypatch, caplog):
    pytest.importorskip("triton")
    module = Mock()
    module.largest_in_rows.side_effect = reason
    monkeypatch.setattr(dispatch.importlib, "import_module", lambda *_: module)
    assert not supports("triton", "weighted_sums", on_gpu(torch.float32))
    assert not supports("triton", "weighted_sums", on_gpu(torch.float32))
    assert [str(reason) in message for message in caplog.messages] == [True]


STEP = """
import logging, torch
logging.basicConfig()
from biosae.saes.variants.topk import TopK
from biosae.training.train_state import TrainState
from biosae.training.settings import TrainerSettings
sae, x = TopK(16, 48, k=3), torch.randn(64, 16)
sae.fit_normaliser(x)
learner = TrainState(sae, TrainerSettings(lr=1e-3), total_steps=10, total_tokens=640)
learner.step(x)
print("stepped", learner.n_steps)
"""


@pytest.mark.parametrize("content", ['raise ImportError("Numba needs NumPy 1.0 or less")', "njit = None"])
def test_a_numba_that_does_not_work_is_named_once_and_done_without(content, tmp_path):
    """As where numba does not know the numpy beside it yet."""
    (tmp_path / "numba.py").write_text(content)
    path = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, "-c", STEP], env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True
    )
    assert done.stdout.split() == ["stepped", "1"], done.stderr
    assert done.stderr.count("numba is installed but does not work") == 1
