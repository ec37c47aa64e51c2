"""Progress bars with rate and time left, on the terminal only."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

console = Console(stderr=True)
"""Logs, progress and errors."""

results = Console(width=None if sys.stdout.isatty() else 200)
"""Results of a command, on standard output; 200 columns wide in a file or a pipe, so that tables do not wrap."""


class Advance(Protocol):
    """Reports ``amount`` finished units, with an optional short status shown beside the bar."""

    def __call__(self, amount: float = 1, status: str = "") -> None: ...


def unseen(amount: float = 1, status: str = "") -> None:
    """Ignore progress: for steps inside another bar."""


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        unit = task.fields["unit"]
        if not speed:  # nothing done yet, or all at once
            return Text("")
        text = f"{speed:,.0f} {unit}/s" if speed >= 10 else f"{speed:.1f} {unit}/s"
        return Text(text, no_wrap=True)


@contextmanager
def progress_bar(description: str, total: float | None, unit: str) -> Iterator[Advance]:
    """Show a bar for ``total`` units (None when unknown) and yield the function that advances it."""
    columns = (
        TextColumn("{task.description:<20}"),
        BarColumn(bar_width=12),
        TextColumn("{task.percentage:>3.0f}%"),
        _Rate(),
        TimeRemainingColumn(compact=True, elapsed_when_finished=True),
        TextColumn("{task.fields[status]}"),
    )
    with Progress(*columns, console=console, transient=False) as bar:
        task = bar.add_task(description, total=total, unit=unit, status="")

        def advance(amount: float = 1, status: str = "") -> None:
            bar.update(task, advance=amount, **({"status": status} if status else {}))

        yield advance
        if total is None:
            bar.update(task, total=bar.tasks[0].completed)  # an unknown total is what was done
