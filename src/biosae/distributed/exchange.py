"""Exchange of rows: each process computes some of the rows and receives those that it needs."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from .processes import SINGLE, ReplicaGroup, connections, current_group


@dataclass(frozen=True)
class RowExchange:
    """A process group with connections that nothing else uses while rows are on their way.

    A thread may then exchange rows while another trains: over the connections of training, a message of a gradient
    could meet a process that waits for rows.
    """

    group: ReplicaGroup = SINGLE
    connections: dist.ProcessGroup | None = None

    def fetch(self, rows: Tensor, owner: Tensor, wanted: Tensor) -> Tensor:
        """Return the wanted ones of the rows of all processes, in their order; a collective.

        Parameters
        ----------
        rows
            ``(n_here, d_in)`` rows that this process computed.
        owner
            ``(n,)`` rank that computed each row, the same everywhere.
        wanted
            ``(n,) bool`` rows that this process needs.
        """
        if self.group.size == 1:
            return rows[wanted]
        asked = [torch.empty_like(wanted) for _ in range(self.group.size)]
        dist.all_gather(asked, wanted, group=self.connections)
        here = owner == self.group.rank
        leaving = [by[here].nonzero().flatten() for by in asked]
        source = owner[wanted]
        received = rows.new_empty(len(source), *rows.shape[1:])
        dist.all_to_all_single(
            received,
            rows[torch.cat(leaving)],
            source.bincount(minlength=self.group.size).tolist(),
            [len(each) for each in leaving],
            group=self.connections,
        )
        return received[source.argsort(stable=True).argsort()]  # they came rank by rank


NO_EXCHANGE = RowExchange()


def row_exchange(name: str) -> RowExchange:
    """Return an exchange for the current process group; a collective, called in the same order of names.

    Sources that are read at the same time need different names; later ones may take a name again.
    """
    group = current_group()
    return NO_EXCHANGE if group.size == 1 else RowExchange(group, connections(name))
