"""Dictionaries too large for one device: each process holds a part of the features, as DTensors, and sees every row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
from torch import Tensor, nn

from biosae.distributed.processes import SINGLE, ReplicaGroup
from biosae.errors import SettingError

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh

    from .base import SAE

DIVISIBLE = ("TopK", "BatchTopK", "Matryoshka", "Standard", "PAnneal", "JumpReLU", "Gated", "GatedAnneal")
"""Variants whose training is exact with the features divided."""

FEATURE_AXES = {"W_dec": 0, "W_enc": 1, "b_enc": 0, "threshold": 0, "gate.r_mag": 0, "gate.b_mag": 0}


class Shards:
    """The processes that each hold as many features of one dictionary; without them all are here and nothing is sent.

    Features stand in the order of the processes. Every method but `here` and `joined` is called by all of them, in
    the same order.
    """

    def __init__(self, ranks: ReplicaGroup = SINGLE, mesh: DeviceMesh | None = None):
        self.ranks, self.mesh = ranks, mesh

    def __deepcopy__(self, memo: dict) -> Shards:
        return self

    @property
    def is_whole(self) -> bool:
        return self.ranks.size == 1

    def here(self, parameter: Tensor) -> Tensor:
        """What this process holds of a parameter; differentiable."""
        return parameter if self.is_whole else parameter.to_local()

    def shared(self, parameter: Tensor) -> Tensor:
        """A parameter that all hold alike, for use with the features here: its gradient is summed over processes."""
        if self.is_whole:
            return parameter
        from torch.distributed.tensor import Partial, Replicate

        return parameter.redistribute(placements=[Replicate()]).to_local(grad_placements=[Partial()])

    def total(self, partial: Tensor) -> Tensor:
        """The sum over processes, for a loss that each computes alike: each summand gets the gradient of the sum."""
        if self.is_whole:
            return partial
        from torch.distributed.tensor import DTensor, Partial

        return DTensor.from_local(partial, self.mesh, [Partial()]).full_tensor()

    def among_largest(self, values: Tensor, k: int) -> Tensor:
        """Which of the values here are among the ``k`` largest of their row over all processes.

        Of equal ones the first features count, as in one process; NaN is largest.

        Parameters
        ----------
        values
            ``(n_rows, at most k)`` the largest here, by feature.
        """
        n_here = values.shape[1]
        padded = nn.functional.pad(values, (0, k - n_here), value=-inf)
        everything = self.joined(padded, axis=1).full_tensor()  # (n_rows, size * k)
        largest = everything.sort(dim=1, descending=True, stable=True).indices[:, :k]
        chosen = torch.zeros_like(everything, dtype=torch.bool).scatter_(1, largest, True)
        return chosen[:, self.ranks.rank * k :][:, :n_here]

    def widths_here(self, widths: Sequence[int], n_here: int) -> list[int]:
        """Of the first ``width`` features, how many are among the ``n_here`` of this process."""
        first = self.ranks.rank * n_here
        return [min(max(width - first, 0), n_here) for width in widths]

    def joined(self, mine: Tensor, axis: int) -> Tensor:
        """A tensor of which each process has its features, as one that knows its place in the whole."""
        if self.is_whole:
            return mine
        from torch.distributed.tensor import DTensor, Shard

        return DTensor.from_local(mine, self.mesh, [Shard(axis)])

    def gathered(self, tensor: Tensor) -> Tensor:
        """The whole of a tensor in the first process, in the memory of its CPU; the others keep their part."""
        axis = self._axis(tensor)
        if axis is None:
            return tensor.to_local() if self._is_distributed(tensor) else tensor
        mine = tensor.to_local().cpu().contiguous()
        parts = [torch.empty_like(mine) for _ in range(self.ranks.size)] if self.ranks.is_first else None
        dist.gather(mine, parts)
        return torch.cat(parts, dim=axis) if self.ranks.is_first else mine

    @torch.no_grad()
    def put(self, target: Tensor, source: Tensor) -> Tensor:
        """Copies a whole tensor, or the part of it that belongs here, into ``target``; gives that."""
        if not self._is_distributed(target) or self._is_distributed(source):
            return target.copy_(source)
        axis = self._axis(target)
        target.to_local().copy_(source if axis is None else self.part(source, axis))
        return target

    def part(self, whole: Tensor, axis: int) -> Tensor:
        """The features of this process."""
        return whole.chunk(self.ranks.size, dim=axis)[self.ranks.rank]

    def _is_distributed(self, tensor: Tensor) -> bool:
        if self.is_whole:
            return False
        from torch.distributed.tensor import DTensor

        return isinstance(tensor, DTensor)

    def _axis(self, tensor: Tensor) -> int | None:
        """The axis of the features of a tensor that is divided."""
        if not self._is_distributed(tensor):
            return None
        (placement,) = tensor.placements
        return placement.dim if placement.is_shard() else None


UNDIVIDED = Shards()


@dataclass(frozen=True)
class CopyOnCpu:
    """All features of a dictionary that may be too large for the device of the activations."""

    sae: SAE

    def forward(self, x: Tensor) -> Tensor:
        """Reconstruction of activations, on their device."""
        return self.sae.forward(x.cpu()).to(x.device)


@torch.no_grad()
def divide(sae: SAE, ranks: ReplicaGroup, device: str | torch.device) -> SAE:
    """Leaves the features of this process in an SAE, and those on a device.

    Raises
    ------
    SettingError
        When there is one process, or the variant or the number of features cannot be divided.
    """
    from torch.distributed.tensor import DTensor, Replicate, init_device_mesh

    _check(sae, ranks)
    sae.shards = Shards(ranks, init_device_mesh(torch.device(device).type, (ranks.size,)))
    for name, parameter in list(sae.named_parameters()):
        if name in FEATURE_AXES:
            mine = sae.shards.part(parameter, FEATURE_AXES[name]).clone()  # keeps the layout in memory
            divided = sae.shards.joined(mine.to(device), FEATURE_AXES[name])
        else:
            divided = DTensor.from_local(parameter.to(device), sae.shards.mesh, [Replicate()])
        module, _, own_name = name.rpartition(".")
        setattr(sae.get_submodule(module), own_name, nn.Parameter(divided))
    return sae.to(device)


def _check(sae: SAE, ranks: ReplicaGroup) -> None:
    variant = type(sae).__name__
    if ranks.size == 1:
        raise SettingError("training.shard_dictionary=true needs several processes: start it with torchrun")
    if variant not in DIVISIBLE:
        raise SettingError(f"training.shard_dictionary=true works for {', '.join(DIVISIBLE)}, got {variant}")
    if sae.d_sae % ranks.size:
        raise SettingError(f"{sae.d_sae} features cannot be divided evenly over {ranks.size} processes")
