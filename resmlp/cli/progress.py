"""A progress bar for commands that read many files."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress_bar(wanted: bool = True) -> Iterator[Callable[[str, int, int], None]]:
    """A progress bar on standard error, if that is a terminal; of several processes in the first."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    shown = wanted and console.is_terminal and os.environ.get("RANK", "0") == "0"
    with Progress(*columns, console=console, disable=not shown, transient=True) as bar:
        task = bar.add_task("listing", total=None)
        yield lambda step, done, total: bar.update(task, description=step, completed=done, total=total)
