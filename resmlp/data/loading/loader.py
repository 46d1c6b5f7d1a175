"""torch's `DataLoader` with worker processes that leave errors and signals to the main process."""

import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, NamedTuple

import torch
from torch.utils.data import DataLoader, Dataset

from resmlp.utils.errors import UserError

warnings.filterwarnings("ignore", "This DataLoader will create", UserWarning)  # about more workers than CPU cores

Batch = dict[str, Any]
ExampleTransform = Callable[[Any], torch.Tensor | dict[str, torch.Tensor]]
"""from an example of a data set, such as an image, to one uint8 tensor, or to several tensors by name"""


class Failure(NamedTuple):
    """The text of a `UserError` in a worker process; torch would raise it as another type of exception."""

    what: str
    hint: str


def make_loader(images: Dataset[Any], order: Iterable[Any], workers: int) -> DataLoader[Any]:
    """A loader of the items `images[order[i]]`, which already are batches."""
    return DataLoader(
        images,
        sampler=order,
        batch_size=None,
        num_workers=workers,
        worker_init_fn=start_worker,
        persistent_workers=workers > 0,
        pin_memory=torch.cuda.is_available(),
        generator=torch.Generator(),  # without it, each epoch draws a number from the global generator
    )


def iterate(loader: DataLoader[Any]) -> Iterator[Batch]:
    """The batches of the loader; raises a `UserError` for the first `Failure`."""
    for batch in loader:
        if isinstance(batch, Failure):
            raise UserError(batch.what, batch.hint)
        yield batch


def start_worker(_: int) -> None:
    """Initialize a worker: it ignores Ctrl-C, which reaches the whole process group, and exits quietly on SIGTERM.

    The main process handles these signals, and may still need batches.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _exit_quietly)
    sys.excepthook = _print_unless_disconnected


def _exit_quietly(number: int, frame: object) -> None:
    """Exit with status 0: if a signal kills a worker, torch raises an error in the main process, which is saving."""
    os._exit(0)


def _print_unless_disconnected(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print an exception, unless the main process exited while it received a batch."""
    if not issubclass(kind, ConnectionError | EOFError):
        sys.__excepthook__(kind, error, trace)
