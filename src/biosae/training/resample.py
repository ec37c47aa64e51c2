"""Dead features start again as inputs that the SAE reconstructs badly."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.optim import Optimizer

from biosae.saes.base import SAE
from biosae.saes.forward import ForwardOutput


@torch.no_grad()
def resample(sae: SAE, optimizer: Optimizer, forward: ForwardOutput, dead: Tensor, seed: int) -> Tensor:
    """Replaces dead features and forgets their optimiser moments; gives the features replaced.

    Inputs of the batch are drawn with probability proportional to their squared loss. A feature gets
    the input's direction, an encoder of 0.2 times the mean norm of the living, and no bias (Bricken
    et al. 2023, Towards Monosemanticity, appendix). Meant for the ReLU variants: others have AuxK.
    """
    errors = forward.ranks.whole(forward.residual.square().sum(1).double().square(), forward.n_tokens)
    n_drawn = min(int(dead.sum()), int((errors > 0).sum()))
    features = dead.nonzero().squeeze(1)[:n_drawn]
    if len(features) == 0:
        return features
    generator = torch.Generator(errors.device).manual_seed(seed)
    drawn = torch.multinomial(errors, n_drawn, generator=generator)
    inputs = forward.ranks.whole(forward.x, forward.n_tokens)[drawn] - sae.b_dec
    directions = torch.nn.functional.normalize(inputs, dim=1)
    alive = sae.W_enc[:, ~dead].norm(dim=0)
    scale = 0.2 * alive.mean() if len(alive) else torch.ones((), device=errors.device)
    sae.W_enc[:, features] = scale * directions.t()
    sae.W_dec[features] = directions  # last, so that a tied decoder keeps its unit norm
    sae.b_enc[features] = 0
    _forget(sae, optimizer, features)
    return features


def _forget(sae: SAE, optimizer: Optimizer, features: Tensor) -> None:
    axes = {"W_dec": 0, "W_enc": 1, "b_enc": 0}
    for name, parameter in sae.named_parameters():
        if name in axes:
            for moment in ("exp_avg", "exp_avg_sq"):
                optimizer.state[parameter][moment].index_fill_(axes[name], features, 0)
