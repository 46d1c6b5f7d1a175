"""Worker processes of a loader: they leave signals to the main process, end with it, and note what they read."""

import multiprocessing
import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import NamedTuple

import torch
from torch.utils.data import get_worker_info

from resmlp.imaging.decode import UnreadableImage

FATAL = 2
"""an example that was read when so many workers died is left out"""


class Death(NamedTuple):
    """A worker that ended before its work was done."""

    exit_code: int
    """-9 for SIGKILL"""
    example: int
    """index of the example that it read; -1 for none"""

    def __str__(self) -> str:
        if self.exit_code < 0:
            with suppress(ValueError):
                return signal.Signals(-self.exit_code).name
        return f"exit code {self.exit_code}"


class ReadingNotes:
    """Which example each worker reads, in shared memory: a worker that was killed cannot tell it."""

    def __init__(self, workers: int):
        self._slots = torch.full((workers, 2), -1).share_memory_()  # pid, index of the example
        self._deaths: Counter[int] = Counter()

    def write(self, worker: int, index: int) -> None:
        """The worker of this number reads the example `index`; -1 for none. Called in the worker."""
        self._slots[worker, 1] = index
        self._slots[worker, 0] = os.getpid()

    def count(self, workers: Iterable[BaseProcess]) -> list[Death]:
        """Those of the `workers` that died, each of which counts against the example that it read."""
        reading = dict(self._slots.tolist())
        dead = [worker for worker in workers if not worker.is_alive()]
        deaths = [Death(worker.exitcode or 0, reading.get(worker.pid, -1)) for worker in dead]
        self._deaths.update(death.example for death in deaths if death.example >= 0)
        return deaths

    def is_fatal(self, index: int) -> bool:
        """Whether `FATAL` workers died while they read the example."""
        return self._deaths[index] >= FATAL


_notes: ReadingNotes | None = None
"""of the worker that this process is; None in other processes"""


def note_reading(index: int, name: str) -> None:
    """A worker calls this before it reads an example. Raises `UnreadableImage` for one that kills workers."""
    info = get_worker_info()
    if info is None or _notes is None:
        return
    if _notes.is_fatal(index):
        raise UnreadableImage(name, f"{FATAL} worker processes were killed while they read it")
    _notes.write(info.id, index)


def note_idle() -> None:
    """A worker calls this after it has read an example."""
    if (info := get_worker_info()) and _notes is not None:
        _notes.write(info.id, -1)


def start_worker(notes: ReadingNotes, number: int) -> None:
    """Initialize a worker. It ignores SIGINT, SIGTERM and SIGHUP, which often reach the whole process group.

    The main process handles these signals, and may still need batches. The worker ends with the main process.
    """
    global _notes
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    sys.excepthook = _print_unless_disconnected
    threading.Thread(target=_end_with_main, daemon=True).start()
    _notes = notes
    notes.write(number, -1)


def _end_with_main() -> None:
    """End this process when the main process has ended, however that was."""
    main = multiprocessing.parent_process()
    assert main is not None
    main.join()
    os._exit(0)


def _print_unless_disconnected(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print an exception, unless the main process exited while it received a batch."""
    if not issubclass(kind, ConnectionError | EOFError):
        sys.__excepthook__(kind, error, trace)
