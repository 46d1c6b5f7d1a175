"""Parts of requests written by hand, many requests at once, and a network that waits until it is told."""

import threading
import time
from collections.abc import Callable
from typing import Any


def head(length: int | None) -> bytes:
    """The front of a request with a body of so many bytes; None: in chunks."""
    framing = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    lines = ("POST /v1/predict HTTP/1.1", "Host: localhost", "Content-Type: image/png", framing)
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode()


def cut(data: bytes) -> bytes:
    """The first half."""
    return data[: len(data) // 2]


class Held:
    """Takes the place of what the plain network runs: waits for `go`, and counts."""

    def __init__(self, running):
        self.running, self.go, self.batches = running, threading.Event(), list[int]()
        operation = running.state.networks.by_name["plain"].operations["predict"]
        self.run, operation.run = operation.run, self

    def __call__(self, kept, options):
        self.batches.append(len(kept))
        assert self.go.wait(30)
        return self.run(kept, options)

    def waiting(self) -> int:
        """Images in the queue."""
        return len(self.running.state.batcher._waiting)


class Together:
    """The answers to so many requests at once, as they come."""

    def __init__(self, ask: Callable[[], Any], count: int = 1):
        self.answers = list[Any]()
        self.threads = [threading.Thread(target=lambda: self.answers.append(ask())) for _ in range(count)]
        for thread in self.threads:
            thread.start()

    def all(self) -> list[Any]:
        """When the last one is there."""
        for thread in self.threads:
            thread.join()
        return self.answers


def until(condition: Callable[[], bool]) -> None:
    """Wait until it is true."""
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)
