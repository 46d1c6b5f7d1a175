"""One thread that runs the networks: it takes what waits, as batches that are counted in images.

A batch starts as soon as the thread is free, with all that waits for the same network, up to its batch size. So a
single request waits for nobody, and under load the batches grow by themselves.
"""

import sys
import threading
import time
import traceback
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Protocol

from resmlp.serving.metrics import Metrics
from resmlp.utils.errors import UserError


class Runs(Protocol):
    """Part of a network that runs in batches."""

    @property
    def model(self) -> str:
        """The name of the network."""

    @property
    def name(self) -> str:
        """What it does, such as `predict`."""

    @property
    def batch_size(self) -> int:
        """Images at once, at most."""

    def run(self, kept: Sequence[Any], options: Hashable) -> Sequence[Any]:
        """A result for each."""


@dataclass(eq=False)
class Item:
    """One image or sentence that waits."""

    work: Runs
    options: Hashable
    """items of other options are not in the same batch"""
    kept: Any
    future: "Future[Any]" = field(default_factory=Future)
    since: float = field(default_factory=time.monotonic)


class Batcher:
    """The queue and the thread."""

    def __init__(self, metrics: Metrics, on_batch: Callable[[int, float], None] = lambda images, seconds: None):
        self.metrics, self.on_batch = metrics, on_batch
        self._waiting: dict[Item, None] = {}  # in the order of arrival; an abandoned item is removed at once
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="model", daemon=True)
        self._thread.start()

    def submit(self, work: Runs, options: Hashable, kept: Any) -> "Future[Any]":
        """The result of one image or sentence, later. A future that is canceled before it runs is removed."""
        item = Item(work, options, kept)
        with self._changed:
            self._waiting[item] = None
            self.metrics.queue.set(len(self._waiting))
            self._changed.notify()
        item.future.add_done_callback(lambda future: self._forget(item))
        return item.future

    def close(self) -> None:
        """Run what waits, and end the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _forget(self, item: Item) -> None:
        """Take out an item that is still there: its client has left."""
        with self._changed:
            self._waiting.pop(item, None)
            self.metrics.queue.set(len(self._waiting))

    def _work(self) -> None:
        while batch := self._next():
            self._run([item for item in batch if item.future.set_running_or_notify_cancel()])

    def _next(self) -> list[Item]:
        """Wait for work, and take a batch from the queue; [] where it is closed and empty."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            if not self._waiting:
                return []
            first = next(iter(self._waiting))
            alike = (item for item in self._waiting if (item.work, item.options) == (first.work, first.options))
            batch = [item for item, _ in zip(alike, range(first.work.batch_size))]
            for item in batch:
                del self._waiting[item]
            self.metrics.queue.set(len(self._waiting))
            return batch

    def _run(self, batch: list[Item]) -> None:
        """Run a batch; where it fails, each of its items alone, so that one cannot spoil the others."""
        if not batch:
            return
        work, started = batch[0].work, time.monotonic()
        for item in batch:
            self.metrics.parts.labels("wait").observe(started - item.since)
        try:
            results = work.run([item.kept for item in batch], batch[0].options)
        except Exception as error:
            if len(batch) > 1:
                for item in batch:
                    self._run([item])
                return
            if isinstance(error, UserError):
                print(f"error: {error}", file=sys.stderr)
            else:
                traceback.print_exception(error, file=sys.stderr)
            batch[0].future.set_exception(error)
            return
        seconds = time.monotonic() - started
        self.metrics.parts.labels("model").observe(seconds)
        self.metrics.batches.labels(work.model, work.name).observe(len(batch))
        self.metrics.images.labels(work.model, work.name).inc(len(batch))
        self.on_batch(len(batch), seconds)
        for item, result in zip(batch, results, strict=True):
            item.future.set_result(result)
