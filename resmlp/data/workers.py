"""How a loader's process answers to signals."""

import os
import signal
import sys


def start_worker(_: int) -> None:
    """Ctrl-C, and perhaps SIGTERM, reach every process of the group; the main one answers, and may want batches."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _leave)
    sys.excepthook = _say_unless_cut_off


def _leave(number: int, frame: object) -> None:
    """End without complaint: a worker that dies of a signal would make torch raise in the main process, which saves."""
    os._exit(0)


def _say_unless_cut_off(kind, error, trace) -> None:
    """A worker whose main process left in the middle of taking a batch from it has nothing to tell."""
    if not issubclass(kind, ConnectionError | EOFError):
        sys.__excepthook__(kind, error, trace)
