"""torch's `DataLoader`, which goes on when a worker process dies, and whose waiting a signal ends."""

import multiprocessing
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing.process import BaseProcess
from multiprocessing.util import Finalize
from typing import Any, NamedTuple, Protocol, cast

import torch
from torch.utils.data import DataLoader, Dataset, get_worker_info

from resmlp.data.loading.workers import Death, ReadingNotes, note_idle, start_worker
from resmlp.utils.errors import UserError, counted, notice
from resmlp.utils.interruption import interruptible

DYING = 5  # seconds
MAX_DEATHS = 5  # times in a row that workers die before the same batch

Batch = dict[str, Any]
ExampleTransform = Callable[[Any], torch.Tensor | dict[str, torch.Tensor]]
"""from an example of a data set, such as an image, to one uint8 tensor, or to several tensors by name"""


class Failure(NamedTuple):
    """The text of a `UserError` in a worker process; torch would raise it as another type of exception."""

    what: str
    hint: str


class Source(Protocol):
    """What a loader loads: a batch, or a list, for each entry of an order."""

    def __getitem__(self, entry: Any) -> Any: ...

    def name(self, index: int) -> str:
        """The name of an example, for messages."""


class Entries(Protocol):
    """What to load, in order; a list, for example."""

    def __len__(self) -> int: ...

    def __getitem__(self, number: int, /) -> Any:
        """The entry of this number, from 0."""


class Loader:
    """The batches `source[entry]` for each entry of `order`, by `workers` processes; 0 loads in this process.

    When workers die, the batches that they owed are loaded again by new ones. An example that was read at two deaths is
    left out as unreadable. Iterating raises `UserError` for the first `Failure`, for a death with `strict`, and after
    `MAX_DEATHS` without a batch; `order` is iterated anew each time.
    """

    def __init__(self, source: Source, order: Entries, workers: int, strict: bool = False):
        self.deaths = 0
        """workers that died so far"""
        self._source, self._workers, self._strict = source, workers, strict
        self._rest = _Rest(order)
        self._notes = ReadingNotes(workers)
        self._processes: list[BaseProcess] = []
        self._loader = self._new()
        # torch would wait five seconds for each worker that has not read its queue yet, and multiprocessing, when the
        # process ends, without an end for workers that ignore its SIGTERM
        Finalize(self, _kill, (self._processes,), exitpriority=10)

    def __iter__(self) -> Iterator[Any]:
        self._rest.start, in_a_row = 0, 0
        while True:
            try:
                for batch in self._arriving():
                    self._rest.start, in_a_row = self._rest.start + 1, 0
                    yield batch
                return
            except (RuntimeError, OSError, EOFError) as error:  # which one depends on what the worker did at its death
                deaths = self._deaths(DYING if isinstance(error, OSError | EOFError) else 0)
                if not deaths:
                    raise
            in_a_row += 1
            self._report(deaths, may_continue=not self._strict and in_a_row < MAX_DEATHS)
            self._restart()

    def _new(self) -> DataLoader[Any]:
        return DataLoader(
            _InWorkers(self._source),
            sampler=self._rest,
            batch_size=None,
            num_workers=self._workers,
            worker_init_fn=partial(start_worker, self._notes),
            persistent_workers=self._workers > 0,
            pin_memory=torch.cuda.is_available(),
            generator=torch.Generator(),  # without it, each epoch draws a number from the global generator
        )

    def _arriving(self) -> Iterator[Any]:
        before = set(multiprocessing.active_children())
        with _same_child_handler(), _signals_wait():
            iterator = iter(self._loader)
        started = [child for child in multiprocessing.active_children() if child not in before]
        if started:
            _replace_event(iterator)
        self._processes += started
        while True:
            with interruptible():
                batch = next(iterator, None)
            if batch is None:
                return
            if isinstance(batch, Failure):
                raise UserError(batch.what, batch.hint)
            yield batch

    def _deaths(self, seconds: float) -> list[Death]:
        """The deaths of workers, for which this waits up to `seconds`: connections end before the process does."""
        end = time.monotonic() + seconds
        while not (deaths := self._notes.count(self._processes)) and time.monotonic() < end:
            time.sleep(0.01)
        return deaths

    def _report(self, deaths: list[Death], may_continue: bool) -> None:
        self.deaths += len(deaths)
        read = [self._source.name(death.example) for death in deaths if death.example >= 0]
        what = f"{counted(len(deaths), 'worker process')} of the loader died ({', '.join(map(str, deaths))})"
        what += f" while reading {', '.join(read)}" if read else ""
        hint = "if memory is short, use fewer workers; in a container, give more shared memory with --shm-size"
        if not may_continue:
            raise UserError(what, hint)
        notice(f"{what}: their batches are loaded again ({hint})")

    def _restart(self) -> None:
        """Replace all workers: the dead ones may hold locks of the queues."""
        _kill(self._processes)
        self._loader = self._new()


def _replace_event(iterator: Any) -> None:
    """Give torch an event of this process alone, in place of the one that tells workers to end: ours are killed.

    The event has a lock, with which a worker may die, and then torch would wait for it forever.
    """
    iterator._event_of_workers = iterator._workers_done_event  # kept: a worker that is still starting opens it
    iterator._workers_done_event = threading.Event()


def _kill(processes: list[BaseProcess]) -> None:
    for process in processes:
        process.kill()
        process.join()
    processes.clear()


class _Rest:
    """The order from number `start` on."""

    def __init__(self, order: Entries):
        self.order, self.start = order, 0

    def __iter__(self) -> Iterator[Any]:
        return (self.order[number] for number in range(self.start, len(self.order)))


class _InWorkers(Dataset[Any]):
    """The source, with what may go wrong in a worker as a `Failure`."""

    def __init__(self, source: Source):
        self._source = source

    def __getitem__(self, entry: Any) -> Any:
        try:
            batch = self._source[entry]
            note_idle()
            if get_worker_info() is not None:  # here its failure can be told: torch would lose the batch in a thread
                for part in batch if isinstance(batch, list) else [batch]:
                    _share(part)
            return batch
        except MemoryError as error:
            return Failure(f"not enough memory to load a batch: {error}", "use fewer --data.workers")
        except RuntimeError as error:
            if "shared memory" not in str(error):
                raise
            what = "shared memory is full: worker processes pass batches through it"
            return Failure(what, "in a container, docker run --shm-size 1g; or use --data.workers 0")


def _share(batch: Any) -> None:
    for value in batch.values() if isinstance(batch, dict) else ():
        if isinstance(value, torch.Tensor):
            value.share_memory_()


@contextmanager
def _same_child_handler() -> Iterator[None]:
    """Keeps the handler of SIGCHLD: torch's raises an error wherever the main process is, even in an optimizer step."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGCHLD)
    try:
        yield
    finally:
        signal.signal(signal.SIGCHLD, cast(Any, before))


@contextmanager
def _signals_wait() -> Iterator[None]:
    """Signals wait until all workers have started: torch cannot clean up a half-made iterator."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
