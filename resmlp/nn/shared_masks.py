"""Random numbers of samples that do not depend on how a batch is divided among processes.

All processes seed their generators equally before a micro-batch. With `sample_places`, each of them draws the numbers
of the whole micro-batch and keeps the rows of its own samples: any number of processes drops the same paths and the
same channels. On one process no places are set, and each function draws what it would draw without this file.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


class Places(NamedTuple):
    """The samples of this process among those of a micro-batch of all processes."""

    total: int
    """number of samples in the micro-batch of all processes"""
    own: Tensor
    """int64 B: the places of the samples of this process, each from 0 to total - 1"""


def dealt(total: int, rank: int, world: int) -> Places | None:
    """The places of process `rank` if `total` samples are dealt one by one to `world` processes; None for one process.

    The first process has the samples 0, world, 2 world, ...
    """
    return Places(total, torch.arange(rank, total, world)) if world > 1 else None


_places: Places | None = None
_eager: dict[str, Callable[..., Tensor]] = {}


@contextmanager
def sample_places(places: Places | None) -> Iterator[None]:
    """Sets the places of the samples that a forward pass reads; None for one process."""
    global _places
    if places is not None and not _eager:
        # compiled code calls these between two graphs, so that no graph depends on the places; torch.compiler.disable
        # imports the compiler, which takes a second: one process never calls it
        _eager["draw"] = torch.compiler.disable(_own_rows)
        _eager["checkpoint"] = torch.compiler.disable(_checkpoint_with_places, recursive=False)
    before, _places = _places, places
    try:
        yield
    finally:
        _places = before


def checkpointed(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """`function(x)` without its activations, which the backward pass computes again (`torch.utils.checkpoint`).

    The backward pass runs after the end of `sample_places`, and here draws the same numbers again.
    """
    if _places is None:
        return checkpoint(function, x, use_reentrant=False)
    return _eager["checkpoint"](function, x)


def _checkpoint_with_places(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    contexts = nullcontext(), sample_places(_places)
    return checkpoint(function, x, use_reentrant=False, context_fn=lambda: contexts)


def draw_rows(draw: Callable[[int], Tensor], samples: int) -> Tensor:
    """`draw(samples)`, a tensor of as many rows; with places, the rows of this process of `draw(total)`.

    A batch may hold V views of each sample, ordered by view, so that `samples` is V * B. Raises ValueError if
    `samples` is not a multiple of the number of places.
    """
    if _places is None:
        return draw(samples)
    return _eager["draw"](draw, samples)


def _own_rows(draw: Callable[[int], Tensor], samples: int) -> Tensor:
    assert _places is not None
    total, own = _places
    views, rest = divmod(samples, len(own))
    if rest or not views:
        raise ValueError(f"{samples} samples for {len(own)} places")
    rows = draw(views * total)
    return rows.unflatten(0, (views, total)).index_select(1, own.to(rows.device)).flatten(0, 1)


def rand_rows(shape: Sequence[int], like: Tensor) -> Tensor:
    """Uniform float32 numbers in [0, 1) of `shape` (B, ...), on the device of `like`: a row for each sample."""

    def draw(rows: int) -> Tensor:
        return torch.rand(rows, *shape[1:], device=like.device)

    return draw_rows(draw, shape[0])


class Dropout(nn.Dropout):
    """`nn.Dropout`, with the same mask for a sample on any number of processes."""

    def forward(self, x: Tensor) -> Tensor:
        """B ... -> B ..."""
        if _places is None or not self.training or not self.p:
            return super().forward(x)
        return x * draw_rows(lambda rows: nn.functional.dropout(_ones(x, rows), self.p), len(x))


class Dropout2d(nn.Dropout2d):
    """`nn.Dropout2d`, with the same mask for a sample on any number of processes."""

    def forward(self, x: Tensor) -> Tensor:
        """B C h w -> B C h w"""
        if _places is None or not self.training or not self.p:
            return super().forward(x)
        return x * draw_rows(lambda rows: nn.functional.dropout2d(x.new_ones(rows, x.shape[1], 1, 1), self.p), len(x))


def _ones(like: Tensor, rows: int) -> Tensor:
    """Ones of the shape of `like`, but with so many rows, in the same order in memory: CUDA's mask depends on it."""
    order = [0, *sorted(range(1, like.dim()), key=like.stride, reverse=True)]
    shape = [rows, *like.shape[1:]]
    ones = like.new_ones([shape[dim] for dim in order])
    return ones.permute([order.index(dim) for dim in range(like.dim())])
