"""What loads batches: torch's loader, with processes of its own that leave what goes wrong to the main one."""

import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import torch
from torch.utils.data import DataLoader, Dataset

from resmlp.data.workers import start_worker
from resmlp.errors import UserError

warnings.filterwarnings("ignore", "This DataLoader will create", UserWarning)  # more workers than cores: shown as slow

Batch = dict[str, Any]
Views = Callable[[Any], torch.Tensor | dict[str, torch.Tensor]]
"""from what a set reads, such as a picture, to the uint8 tensor of one view, or to several by name"""


class Failure(NamedTuple):
    """A `UserError` on its way out of a worker: torch would make another exception of it."""

    what: str
    hint: str


def make_loader(pictures: Dataset, order: Iterable, workers: int) -> DataLoader:
    """A loader whose items are batches already: `pictures[order[i]]`."""
    return DataLoader(
        pictures,
        sampler=order,
        batch_size=None,
        num_workers=workers,
        worker_init_fn=start_worker,
        persistent_workers=workers > 0,
        pin_memory=torch.cuda.is_available(),
        generator=torch.Generator(),  # else each epoch would draw a number from the global one
    )


def results(loader: DataLoader) -> Iterator[Batch]:
    """The batches. Raises the `UserError` of the first that is a `Failure`."""
    for batch in loader:
        if isinstance(batch, Failure):
            raise UserError(batch.what, batch.hint)
        yield batch
