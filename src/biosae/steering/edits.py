"""Edits of token activations: through features of the SAE, and the baselines that need none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from biosae.saes.base import SAE
from biosae.saes.code_edits import edited_codes, movement
from biosae.saes.codes import Codes

WHERE = ("all", "active")
ERRORS = ("keep", "replace")


@dataclass(frozen=True, eq=False)
class EditableTokens:
    """Activations of content tokens, and what several edits of the same tokens share.

    Attributes
    ----------
    x
        ``(n_tokens, d_in)`` in activation units.
    sample
        ``(n_tokens,) int64`` row of the token's sample in the data set.
    """

    sae: SAE
    x: Tensor
    sample: Tensor

    @cached_property
    def codes(self) -> Codes:
        return self.sae.encode(self.x)

    @cached_property
    def reconstruction(self) -> Tensor:
        return self.sae.decode(self.codes, self.x)


TokenEdit = Callable[[EditableTokens], Tensor]
"""Tokens to their activations after the edit, ``(n_tokens, d_in)``."""


def unedited(tokens: EditableTokens) -> Tensor:
    """Return the activations as they are."""
    return tokens.x


@dataclass(frozen=True, eq=False)
class FeatureEdit:
    """``x' = x + decode(edited codes) - decode(codes)``: what the SAE does not explain stays as it is.

    Only tokens whose codes change are touched, so that an edit that changes no code changes no bit.

    Attributes
    ----------
    features
        ``(n_features,) int64``.
    amount
        ``(n_features,)`` amounts of the operation, in the units of codes.
    where
        ``all`` tokens, or only those where the feature is ``active``.
    error
        ``keep`` the SAE's error, or ``replace`` activations by the reconstruction: ``x' = decode(edited codes)``.
    """

    features: Tensor
    operation: str
    amount: Tensor
    where: str = "all"
    error: str = "keep"

    def __call__(self, tokens: EditableTokens) -> Tensor:
        rows, change = self.change(tokens)
        base = tokens.x if self.error == "keep" else tokens.reconstruction
        return base.index_add(0, rows, change.to(base.dtype)) if len(rows) else base

    def change(self, tokens: EditableTokens) -> tuple[Tensor, Tensor]:
        """Return the rows of the tokens that change, and their changes ``(n_rows, d_in)``."""
        features = self.features.to(tokens.x.device)
        before = tokens.codes.of(features)
        difference = edited_codes(before, self.operation, self.amount, self.where) - before
        rows = difference.any(dim=1).nonzero().squeeze(1)
        if len(rows) == 0:
            return rows, tokens.x[:0]
        return rows, movement(tokens.sae, difference[rows], features, tokens.x[rows])


@dataclass(frozen=True, eq=False)
class RandomDirection:
    """Moves every token as far as a feature edit does, but along a fixed random ``direction`` ``(d_in,)``."""

    like: FeatureEdit
    direction: Tensor

    @classmethod
    def drawn(cls, like: FeatureEdit, d_in: int, seed: int) -> RandomDirection:
        """Draw the direction uniformly from the unit sphere."""
        drawn = torch.randn(d_in, generator=torch.Generator().manual_seed(seed))
        return cls(like, torch.nn.functional.normalize(drawn, dim=0))

    def __call__(self, tokens: EditableTokens) -> Tensor:
        rows, change = self.like.change(tokens)
        length = change.norm(dim=1, keepdim=True)
        return tokens.x.index_add(0, rows, (length * self.direction.to(change)).to(tokens.x.dtype))


@dataclass(frozen=True, eq=False)
class ProjectOut:
    """Removes the component along some directions, measured from a centre: difference-in-means erasure.

    Attributes
    ----------
    centre
        ``(d_in,)``.
    basis
        ``(d_in, n_directions)`` orthonormal columns.
    """

    centre: Tensor
    basis: Tensor

    def __call__(self, tokens: EditableTokens) -> Tensor:
        basis = self.basis.to(tokens.x)
        return tokens.x - (tokens.x - self.centre.to(tokens.x)) @ basis @ basis.t()


@dataclass(frozen=True, eq=False)
class Centre:
    """Moves the tokens of every group to a common mean.

    Attributes
    ----------
    shift
        ``(n_groups, d_in)`` common mean minus the group's.
    group
        ``(n_samples,) int64`` group of each sample of the data set; -1 leaves its tokens as they are.
    """

    shift: Tensor
    group: Tensor

    def __call__(self, tokens: EditableTokens) -> Tensor:
        group = self.group.to(tokens.sample.device)[tokens.sample]
        shift = self.shift.to(tokens.x)[group.clamp(min=0)]
        return torch.where((group >= 0)[:, None], tokens.x + shift, tokens.x)


@dataclass(frozen=True, eq=False)
class Shift:
    """Adds one vector ``(d_in,)`` to every token."""

    vector: Tensor

    def __call__(self, tokens: EditableTokens) -> Tensor:
        return tokens.x + self.vector.to(tokens.x)
