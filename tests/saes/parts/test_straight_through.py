from __future__ import annotations

import torch

from biosae.saes.parts.straight_through import jump_relu, soft_mask, step


def test_values_are_the_plain_step_and_jump():
    pre = torch.tensor([-1.0, 0.2, 0.49, 0.5, 0.51, 3.0])
    threshold = torch.full((6,), 0.5)
    assert torch.equal(jump_relu(pre, threshold, 0.2), torch.tensor([0, 0, 0, 0, 0.51, 3.0]))
    assert torch.equal(step(pre, threshold, 0.2), torch.tensor([0, 0, 0, 0, 1.0, 1.0]))


def test_threshold_gradients_are_the_rectangle_kernel_on_both_sides():
    """Rajamanoharan et al. (2024), equations 11 and 12. The gradient of jumped codes misses half the window."""
    pre = torch.tensor([0.39, 0.41, 0.5, 0.59, 0.61], dtype=torch.float64, requires_grad=True)
    threshold = torch.full((5,), 0.5, dtype=torch.float64, requires_grad=True)
    inside = torch.tensor([0, 1, 1, 1, 0], dtype=torch.float64)
    (by_pre, by_threshold) = torch.autograd.grad(jump_relu(pre, threshold, 0.2).sum(), (pre, threshold))
    torch.testing.assert_close(by_threshold, -inside * 0.5 / 0.2)
    assert by_pre.tolist() == [0, 0, 0, 1, 1]
    (by_threshold,) = torch.autograd.grad(step(pre, threshold, 0.2).sum(), threshold)
    torch.testing.assert_close(by_threshold, -inside / 0.2)


def test_threshold_gradient_is_that_of_the_smoothed_expectation():
    """Over many tokens it estimates the derivative of the mean, here by central differences."""
    pre = torch.randn(400_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    bandwidth, at = 0.1, 0.8
    threshold = torch.full((), at, dtype=torch.float64, requires_grad=True)
    for function in (jump_relu, step):
        (estimated,) = torch.autograd.grad(function(pre, threshold, bandwidth).mean(), threshold)
        up, down = (function(pre, threshold.detach() + shift, bandwidth).double().mean() for shift in (0.05, -0.05))
        # About 12,000 tokens in the window: relative error of one percent, and the kernel's curvature.
        torch.testing.assert_close(estimated, (up - down) / 0.1, rtol=0.03, atol=0)


def test_soft_mask_is_hard_forward_and_sigmoid_backward():
    scores = torch.tensor([2.0, 1.0, 0.0, -5.0], dtype=torch.float64, requires_grad=True)
    chosen = torch.tensor([True, True, False, False])
    mask = soft_mask(scores, torch.tensor(0.5), chosen, torch.tensor(0.7))
    assert mask.tolist() == [1, 1, 0, 0]
    mask.sum().backward()
    soft = torch.sigmoid((scores.detach() - 0.5) / 0.7)
    torch.testing.assert_close(scores.grad, soft * (1 - soft) / 0.7)
