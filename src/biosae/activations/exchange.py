"""Rows that several processes made, each some of them, on their way to those that take them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from biosae.distributed.processes import SINGLE, ReplicaGroup, connections, current_group


@dataclass(frozen=True)
class Exchange:
    """The processes, and connections that nothing else uses while rows are on their way.

    A thread may then give out rows while another trains: over the connections of training, what one process sends for
    a gradient could meet what another waits for as rows.
    """

    ranks: ReplicaGroup = SINGLE
    connections: dist.ProcessGroup | None = None

    def given_out(self, rows: Tensor, owner: Tensor, wanted: Tensor) -> Tensor:
        """Of the rows of all processes those that this one wants, in their order; called by all of them.

        Parameters
        ----------
        rows
            ``(n_here, d_in)`` those that were made here.
        owner
            ``(n,)`` the process that made each row, the same everywhere.
        wanted
            ``(n,) bool``.
        """
        if self.ranks.size == 1:
            return rows[wanted]
        asked = [torch.empty_like(wanted) for _ in range(self.ranks.size)]
        dist.all_gather(asked, wanted, group=self.connections)
        here = owner == self.ranks.rank
        leaving = [by[here].nonzero().flatten() for by in asked]
        source = owner[wanted]
        received = rows.new_empty(len(source), *rows.shape[1:])
        dist.all_to_all_single(
            received,
            rows[torch.cat(leaving)],
            source.bincount(minlength=self.ranks.size).tolist(),
            [len(each) for each in leaving],
            group=self.connections,
        )
        return received[source.argsort(stable=True).argsort()]  # they came process by process


ALL_HERE = Exchange()


def exchange(name: str) -> Exchange:
    """One for the processes that are connected now; all of them call it, in the same order of names.

    Sources that are read at the same time need different names; later ones may take a name again.
    """
    ranks = current_group()
    return ALL_HERE if ranks.size == 1 else Exchange(ranks, connections(name))
