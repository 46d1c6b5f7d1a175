"""Stop where the state is whole: the first SIGINT, SIGTERM or SIGHUP is recorded, and the engine saves and stops."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from resmlp.utils.console import console
from resmlp.utils.signals import importing, stop

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""of Ctrl-C, of schedulers, and of a terminal that is closed"""


class Interrupted(KeyboardInterrupt):
    """A signal stopped the run. `exit_code` is 128 + its number: 130 for SIGINT, 143 for SIGTERM, 129 for SIGHUP."""

    def __init__(self, number: int = signal.SIGINT, everywhere: bool = False):
        super().__init__(signal.Signals(number).name)
        self.number = number
        self.everywhere = everywhere
        """whether all processes of the run know"""

    @property
    def exit_code(self) -> int:
        """The exit code of a process that this signal stopped."""
        return 128 + self.number


class Interruption:
    """Records the first signal while it is entered. In threads other than the main thread it records nothing.

    A second SIGINT raises `Interrupted` at once. A second one of the others changes nothing: launchers repeat them, and
    the checkpoint is being written. Afterwards they end the process with the exit code of the first. A SIGHUP that is
    ignored, as under nohup, stays so.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        """the number of the recorded signal"""
        self.has_trained = False
        """whether weights were updated; before, there is nothing to save, and a signal raises `Interrupted` at once"""
        self.patient = False
        """whether `waiting` goes on after a signal: in the middle of a step"""
        self._waiting = False
        self._owner = os.getpid()
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Interruption":
        if threading.current_thread() is threading.main_thread():
            heard = [n for n in SIGNALS if n != signal.SIGHUP or signal.getsignal(n) is not signal.SIG_IGN]
            self._before = {number: signal.signal(number, self._record) for number in heard}
        _active.append(self)
        return self

    def __exit__(self, *error: object) -> None:
        _active.remove(self)
        for number, handler in self._before.items():
            last = self._end if self.number is not None and number != signal.SIGINT else handler
            signal.signal(number, last)

    def _end(self, number: int, frame: object) -> None:
        """A launcher's signal to a process that has saved and is ending."""
        if os.getpid() == self._owner and self.number is not None:
            os._exit(128 + self.number)

    def _record(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._owner:  # a forked worker has this handler until it sets its own
            return
        again = self.number is not None
        if again and number != signal.SIGINT:
            return
        self.number = number
        if not self.has_trained and importing(frame):
            stop(number)
        if again or self._waiting or not self.has_trained:
            raise Interrupted(number)
        with suppress(RuntimeError):  # the console may be in the middle of a line
            console.print("saving a checkpoint, then stopping (Ctrl-C again: stop now)")

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Here a signal raises `Interrupted` at once, also one that was recorded before."""
        before = self._waiting
        try:
            self._waiting = not self.patient
            self.check()
            yield
        finally:
            self._waiting = before

    def check(self) -> None:
        """Raise `Interrupted` if a signal was recorded, and not `patient`."""
        if self.number is not None and not self.patient:
            raise Interrupted(self.number)


_active: list[Interruption] = []
"""the interruptions that are entered, innermost last"""


@contextmanager
def interruptible() -> Iterator[None]:
    """A signal that the active `Interruption` records ends the block at once; without one, nothing changes."""
    if not _active:
        yield
        return
    with _active[-1].waiting():
        yield
