"""Processes of a run that watch one another: one that hangs is named, and the others end.

Without this they would wait for it, up to the time limit of gloo or NCCL, and then end with a trace of the stack that
does not name it.
"""

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch.distributed as dist

from resmlp.utils.errors import UserError, counted

EXIT_CODE = 1
ENDED = "ended"
"""what a process says last"""
LONGEST = 5.0
"""seconds between two signs of life"""
GLOO = "gloo/"
"""in the messages of gloo, whose exceptions are plain ones of the class RuntimeError"""


class Sign(NamedTuple):
    """What a process says about itself."""

    beats: int
    """how often it has said so"""
    arrivals: int
    """how often it has come to the place where all wait for all, before each micro-batch"""
    host: str
    pid: int

    def __str__(self) -> str:
        return f"{self.beats} {self.arrivals} {self.pid} {self.host}"

    @classmethod
    def read(cls, text: str) -> "Sign":
        """The sign that is written as `str(sign)`."""
        beats, arrivals, pid, host = text.split(" ", 3)
        return cls(int(beats), int(arrivals), host, int(pid))


@dataclass
class Peer:
    """What is known of another process."""

    sign: Sign
    heard: float
    """when it said something new, by the clock of this process"""
    behind: float | None = None
    """since when others wait for it; None if they do not"""

    def update(self, sign: Sign, own_arrivals: int, now: float) -> None:
        """Take note of a sign, at the time `now`; this process has arrived `own_arrivals` times."""
        if sign.beats != self.sign.beats:
            self.heard = now
        if sign.arrivals >= own_arrivals:
            self.behind = None
        elif self.behind is None or sign.arrivals != self.sign.arrivals:
            self.behind = now
        self.sign = sign

    def hangs(self, seconds: float, now: float) -> bool:
        """Whether it has been silent for so many seconds, or the others have waited for it so long."""
        return now - self.heard > seconds or (self.behind is not None and now - self.behind > seconds)


class Heartbeat:
    """While it is entered, tells the `world` processes of the store that process `rank` runs, and watches the others.

    If one of them says nothing for so many `seconds`, or has not come where the others wait for it, this process ends
    with exit code 1. One of those that still run prints the error, which names the process that hangs. `arrivals` gives
    the number of times that this process has come there.
    """

    def __init__(self, store: Any, rank: int, world: int, seconds: float, arrivals: Callable[[], int]):
        self._store, self._rank, self._world, self._seconds = store, rank, world, seconds
        self._arrivals, self._every = arrivals, min(LONGEST, seconds / 5)
        self._peers: dict[int, Peer] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="heartbeat", daemon=True)

    def __enter__(self) -> "Heartbeat":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join(self._every)  # a store that does not answer is not waited for

    def _watch(self) -> None:
        host, pid, beats, before = socket.gethostname(), os.getpid(), 0, time.monotonic()
        try:
            while not self._ended.wait(self._every):
                beats, now = beats + 1, time.monotonic()
                if now - before > self._seconds / 2:  # this process was stopped, and perhaps the others with it
                    self._peers.clear()
                before = now
                self._say(str(Sign(beats, self._arrivals(), host, pid)))
                self._listen()
                if hanging := [rank for rank, peer in self._peers.items() if peer.hangs(self._seconds, now)]:
                    self._stop(hanging)
            self._say(ENDED)
        except RuntimeError:  # the launcher has ended, and its store with it: nobody is there to watch
            return

    def _say(self, text: str) -> None:
        self._store.set(_key(self._rank), text)

    def _listen(self) -> None:
        """Read what the other processes say; those that have not begun, and those that have ended, are not watched."""
        for rank in range(self._world):
            if rank == self._rank or not self._store.check([_key(rank)]):
                continue
            text, now = self._store.get(_key(rank)).decode(), time.monotonic()
            if text == ENDED:
                self._peers.pop(rank, None)
            else:
                peer = self._peers.setdefault(rank, Peer(Sign.read(text), now))
                peer.update(Sign.read(text), self._arrivals(), now)

    def _stop(self, hanging: list[int]) -> None:
        if self._rank == min(set(range(self._world)) - set(hanging)):
            os.write(2, f"error: {self.error(hanging)}\n".encode())  # the main thread may hold Python's streams
        else:
            time.sleep(2 * self._every)  # a launcher ends all processes after the first one, which prints
        os._exit(EXIT_CODE)

    def error(self, hanging: list[int]) -> UserError:
        """The error that names these processes."""
        first = self._peers[hanging[0]].sign
        others = f", and {counted(len(hanging) - 1, 'other')}," if len(hanging) > 1 else ""
        what = f"rank {hanging[0]} of {self._world} (process {first.pid} on {first.host}){others}"
        limit = f"{self._seconds:g} s" if self._seconds < 120 else f"{self._seconds / 60:g} minutes"
        hint = "see what it waits for; the same command continues, and torchrun --max-restarts N does so by itself"
        return UserError(f"{what} has not answered for {limit}", hint)


def _key(rank: int) -> str:
    return f"heartbeat/{rank}"


@contextmanager
def watched(minutes: float, arrivals: Callable[[], int]) -> Iterator[None]:
    """The processes of the default group watch one another for so many minutes; nothing for one process.

    Raises `UserError` if the connection to another process is lost, as when that was killed.
    """
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        yield
        return
    store = (
        dist.distributed_c10d._get_default_store().clone()
    )  # the main thread may wait in the connection of the other
    try:
        with Heartbeat(store, dist.get_rank(), dist.get_world_size(), 60 * minutes, arrivals):
            yield
    except RuntimeError as error:
        if isinstance(error, dist.DistError) or GLOO in str(error):
            hint = "its own message says why; the same command continues"
            raise UserError("the connection to another process of the run is lost", hint) from error
        raise
