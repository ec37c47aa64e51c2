"""The error of a forward whose residual is at hand, against the plain one."""

from __future__ import annotations

import pytest
import torch

from biosae.saes.forward import ForwardOutput, squared_error


def forward_of(x: torch.Tensor, reconstruction: torch.Tensor) -> ForwardOutput:
    return ForwardOutput(x, None, None, lambda codes: reconstruction, len(x))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_error_and_its_gradient_are_those_of_a_plain_sum(dtype):
    generator = torch.Generator().manual_seed(0)
    x, start = (torch.randn(7, 5, generator=generator, dtype=dtype) for _ in range(2))
    mine, plain = (start.clone().requires_grad_() for _ in range(2))
    forward = forward_of(x, mine)
    error, expected = forward.error(forward.reconstruction), squared_error(x, plain) / 7
    (3 * error).backward()
    (3 * expected).backward()
    torch.testing.assert_close(error, expected)
    torch.testing.assert_close(mine.grad, plain.grad)
    torch.testing.assert_close(forward.residual, x - start)


def test_another_reconstruction_has_its_own_error():
    x = torch.randn(7, 5, generator=torch.Generator().manual_seed(1))
    forward = forward_of(x, torch.zeros_like(x))
    assert forward.error(forward.reconstruction) > 0
    assert forward.error(x.clone()) == 0
