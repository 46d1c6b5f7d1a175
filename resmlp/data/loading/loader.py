"""What loads batches: torch's loader, with processes of its own that leave what goes wrong to the main one."""

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

warnings.filterwarnings("ignore", "This DataLoader will create", UserWarning)  # more workers than cores: shown as slow

Batch = dict[str, Any]
Views = Callable[[Any], torch.Tensor | dict[str, torch.Tensor]]
"""from what a set reads, such as an image, to the uint8 tensor of one view, or to several by name"""


class Failure(NamedTuple):
    """A `UserError` on its way out of a worker: torch would make another exception of it."""

    what: str
    hint: str


def make_loader(images: Dataset[Any], order: Iterable[Any], workers: int) -> DataLoader[Any]:
    """A loader whose items are batches already: `images[order[i]]`."""
    return DataLoader(
        images,
        sampler=order,
        batch_size=None,
        num_workers=workers,
        worker_init_fn=start_worker,
        persistent_workers=workers > 0,
        pin_memory=torch.cuda.is_available(),
        generator=torch.Generator(),  # else each epoch would draw a number from the global one
    )


def results(loader: DataLoader[Any]) -> Iterator[Batch]:
    """The batches. Raises the `UserError` of the first that is a `Failure`."""
    for batch in loader:
        if isinstance(batch, Failure):
            raise UserError(batch.what, batch.hint)
        yield batch


def start_worker(_: int) -> None:
    """Ctrl-C, and perhaps SIGTERM, reach every process of the group; the main one answers, and may want batches."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _leave)
    sys.excepthook = _say_unless_cut_off


def _leave(number: int, frame: object) -> None:
    """End without complaint: a worker that dies of a signal would make torch raise in the main process, which saves."""
    os._exit(0)


def _say_unless_cut_off(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """A worker whose main process left in the middle of taking a batch from it has nothing to tell."""
    if not issubclass(kind, ConnectionError | EOFError):
        sys.__excepthook__(kind, error, trace)
