"""The log of a run: metrics.jsonl, the trackers, and the progress bar."""

import json
import math
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text
from torch import Tensor

from resmlp.utils.console import console
from resmlp.utils.devices import all_mean
from resmlp.utils.errors import printable
from resmlp.utils.files import disk_errors
from resmlp.utils.run_folder import METRICS
from resmlp.utils.trackers import Trackers

MAX_LINE = 2**20
"""characters of a line of the log that are read at once: a longer one is none of ours"""
MAX_COUNT = 2**53
"""above every step and epoch; smaller integers are exact as floats"""
MAX_NUMBER = 2**128
"""above every finite loss, which is in fp32; a figure of larger numbers overflows"""


def show_table(title: str, rows: Iterable[tuple[str, Any]]) -> None:
    """Print a table of two columns on standard error."""
    table = Table(title=Text(printable(title)), show_header=False, title_justify="left", box=None, padding=(0, 2))
    for what, value in rows:
        table.add_row(what, Text(printable(str(value))))
    console.print(table)


class Logger:
    """Appends lines to `metrics.jsonl`, and sends their numbers to trackers."""

    def __init__(self, folder: Path, trackers: Iterable[str] = ()):
        self.path = folder / METRICS
        with disk_errors(self.path), self.path.open("ab+") as file:
            if file.seek(0, os.SEEK_END):
                file.seek(-1, os.SEEK_END)
                if file.read() != b"\n":  # killed in the middle of a line
                    file.write(b"\n")
        self.trackers = Trackers(trackers, folder)

    def write(self, kind: str, step: int, values: dict[str, Any]) -> None:
        """Append the line `{"kind": ..., "step": ..., **values}`."""
        with disk_errors(self.path), self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"kind": kind, "step": step, **values}) + "\n")
        where = f"{kind}/{values['weights']}" if "weights" in values else kind
        self.trackers.log({f"{where}/{name}": v for name, v in values.items() if isinstance(v, float)}, step)

    def __enter__(self) -> "Logger":
        return self

    def __exit__(self, *error: object) -> None:
        self.trackers.finish()


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """The lines of `metrics.jsonl` by step. Of a step that a resumed run repeated, the latest line counts.

    A line that is not as `Logger` writes it is skipped: a killed process leaves an incomplete one.
    """
    latest: dict[tuple[Any, ...], dict[str, Any]] = {}
    path = folder / METRICS
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in iter(lambda: file.readline(MAX_LINE), ""):
            if entry := _entry(line):
                latest[entry["kind"], entry["step"], entry.get("weights")] = entry
    return sorted(latest.values(), key=lambda entry: entry["step"])


def _entry(line: str) -> dict[str, Any] | None:
    """The values of a line of the log; None for a line that `Logger` does not write."""
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(entry, dict):
        return None
    words = (entry.get("kind"), entry.get("weights", ""))
    counts = (entry.get("step"), entry.get("epoch", 1))
    numbers = (value for name, value in entry.items() if name not in ("kind", "weights"))
    is_written = (
        all(isinstance(word, str) for word in words)
        and all(type(count) is int and 0 < count < MAX_COUNT for count in counts)
        and all(type(number) in (int, float) and not MAX_NUMBER <= abs(number) < math.inf for number in numbers)
    )
    return entry if is_written else None


class Window:
    """The losses since the last line of the log, kept on their device: reading them at each step would stall it."""

    def __init__(self, earlier: Mapping[str, Sequence[float]] | None = None) -> None:
        self.earlier = earlier or {}
        """of each loss the sum and the number of micro-batches before a checkpoint, from which the run goes on"""
        self.entries: list[tuple[int, dict[str, Tensor]]] = []
        """the optimizer step and the losses of each micro-batch"""
        self.samples = 0
        self.since = time.perf_counter()

    def add(self, step: int, losses: dict[str, Tensor]) -> None:
        """Add the scalars of one micro-batch of optimizer step `step`."""
        self.entries.append((step, {name: value.detach() for name, value in losses.items()}))

    def first_not_finite(self) -> int | None:
        """The first step with a loss that is not finite; None: all are finite."""
        losses = [entry["loss"] for _, entry in self.entries]
        finite = torch.stack(losses).isfinite().tolist() if losses else []
        return next((step for (step, _), is_finite in zip(self.entries, finite) if not is_finite), None)

    def means(self) -> dict[str, Tensor]:
        """Mean of each loss, on its device."""
        return {name: total / count for name, (total, count) in self._sums(self.entries).items()}

    def state(self, step: int) -> dict[str, tuple[float, int]]:
        """What the window of a run that goes on from a checkpoint after `step` steps starts with.

        Sums are means over all processes, which call this together.
        """
        sums = self._sums([entry for entry in self.entries if entry[0] < step])  # others are of a step in the middle
        if not sums:
            return {name: (total, int(count)) for name, (total, count) in self.earlier.items()}
        totals = all_mean(torch.stack([total for total, _ in sums.values()])).tolist()
        return {name: (total, count) for total, (name, (_, count)) in zip(totals, sums.items())}

    def _sums(self, entries: Sequence[tuple[int, dict[str, Tensor]]]) -> dict[str, tuple[Tensor, int]]:
        """The sum of each loss and the number of its micro-batches, with those from before the checkpoint."""
        found = {}
        for name in dict.fromkeys(name for _, losses in entries for name in losses):
            values = [losses[name] for _, losses in entries if name in losses]
            total, count = self.earlier.get(name, (0.0, 0))
            found[name] = torch.stack(values).float().sum() + total, len(values) + int(count)
        return found

    def samples_per_s(self) -> float:
        """Samples per second of this process and its peers together."""
        return self.samples / max(time.perf_counter() - self.since, 1e-9)


class Bar:
    """A progress bar with ETA, loss and speed, if standard error is a terminal; else nothing is shown."""

    def __init__(self, done: int, total: int, show: bool = True):
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("eta"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[text]}"),
        )
        self.progress = Progress(*columns, console=console, disable=not (show and console.is_terminal), transient=True)
        self.task = self.progress.add_task("", total=total, completed=done, text="")

    def __enter__(self) -> "Bar":
        self.progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.progress.stop()

    def advance(self, description: str) -> None:
        """Advance by one step."""
        self.progress.update(self.task, advance=1, description=description)

    def set_text(self, text: str) -> None:
        """Set the text behind the bar."""
        self.progress.update(self.task, text=text)
