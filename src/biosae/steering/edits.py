"""Edits of token activations: through features of the SAE, and the baselines that need none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from biosae.saes.base import SAE
from biosae.saes.codes import Codes

OPERATIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "clamp": lambda codes, amount: amount.expand_as(codes),
    "scale": lambda codes, amount: codes * amount,
    "add": lambda codes, amount: codes + amount,
    "ablate": lambda codes, amount: torch.zeros_like(codes),
}
"""Codes ``(n_tokens, n_features)`` and amounts ``(n_features,)`` to the codes after the edit, which may be negative."""

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
        sae, features = tokens.sae, self.features.to(tokens.x.device)
        before = codes_of(tokens.codes, features)
        difference = edited_codes(before, self.operation, self.amount, self.where) - before
        rows = difference.any(dim=1).nonzero().squeeze(1)
        if len(rows) == 0:
            return rows, tokens.x[:0]
        x = tokens.x[rows]
        moved = difference[rows] @ sae.W_dec[features]  # (n_rows, d_in), normalised units
        return rows, sae.denormalise(moved, x) - sae.denormalise(torch.zeros_like(moved), x)


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


def edited_codes(codes: Tensor, operation: str, amount: Tensor, where: str) -> Tensor:
    """Apply an operation on ``all`` tokens, or only on those where the feature is ``active``."""
    # Two steps: not every device holds the float64 of amounts.
    edited = OPERATIONS[operation](codes, amount.to(codes.dtype).to(codes.device))
    return torch.where(codes > 0, edited, codes) if where == "active" else edited


def codes_of(codes: Codes, features: Tensor) -> Tensor:
    """Return the codes of the given features, zeros written out, ``(n_tokens, n_features)``."""
    if codes.support is None:
        return codes.values[:, features]
    column = torch.full((codes.d_sae,), -1, dtype=torch.long, device=features.device)
    column[features] = torch.arange(len(features), device=features.device)
    place = column[codes.support.features]
    chosen = place >= 0
    out = codes.values.new_zeros(codes.n_rows, len(features))
    out[codes.support.rows[chosen], place[chosen]] = codes.values[chosen]
    return out
