"""A function that runs in another process while this one loads torch, which takes seconds on one core."""

import multiprocessing
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from resmlp.utils.errors import UserError

T = TypeVar("T")


def ahead(function: Callable[..., T], *args: Any) -> Callable[[], T]:
    """Start `function(*args)`, which needs no torch; the result waits for its value, or raises its `UserError`.

    Where torch is loaded already, or a process cannot be forked, it runs when the result is called. It runs there as
    well where the other process ended without a value, so that any other exception is raised in this one.
    """
    if "torch" in sys.modules or not sys.platform.startswith("linux"):
        return lambda: function(*args)
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_run, args=(receiver, sender, function, args), daemon=True)
    process.start()
    sender.close()

    def result() -> T:
        with receiver:
            try:
                value = receiver.recv()
            except EOFError:
                return function(*args)
        process.join()
        if isinstance(value, UserError):
            raise value
        return value

    return result


def _run(receiver: Connection, sender: Connection, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
    """Send the value. Ctrl-C is for the main process, which says what goes wrong, and ends this one when it ends."""
    receiver.close()  # of which this process has a copy: with it open, the end of the main process would not be seen
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        value = function(*args)
    except UserError as error:
        value = error
    except Exception:
        return
    with suppress(OSError):  # the main process has ended
        sender.send(value)
