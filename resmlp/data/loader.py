"""Batches. What is in one is a function of (seed, epoch, rank, position) and of nothing else.

The number of workers changes nothing, and an epoch taken up in the middle goes on with the same batches: each place in
the epoch's order has its own key, and all generators are seeded with it before that picture is transformed.
"""

import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, Protocol, cast

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, default_collate

from resmlp.config import Augment, Data
from resmlp.data.images import ImageSet
from resmlp.data.masksets import MaskSet
from resmlp.data.transforms import TrainTransform, Transform, eval_transform, train_transform
from resmlp.data.workers import start_worker
from resmlp.errors import UserError
from resmlp.imaging.decode import UnreadableImage
from resmlp.preprocessing import Preprocessing
from resmlp.randomness import generators_kept, seed_host
from resmlp.words import counted

warnings.filterwarnings("ignore", "This DataLoader will create", UserWarning)  # more workers than cores: shown as slow
MAX_IN_A_ROW = 50  # unreadable pictures, before it is the data that is broken

Batch = dict[str, Any]
Views = Callable[[Any], torch.Tensor | dict[str, torch.Tensor]]
"""from what a set reads, such as a picture, to the uint8 tensor of one view, or to several by name"""
View = Callable[[int], torch.Tensor | dict[str, torch.Tensor]]
"""the same from an example's number; raises `UnreadableImage`"""


class Examples(Protocol):
    """What is trained on: an `ImageSet`, or a `MaskSet`, of which pictures are read with the labels of their pixels."""

    @property
    def labels(self) -> list[int] | None:
        """Of each picture as a whole; None: there are none, nor are they in a batch."""

    def __len__(self) -> int: ...

    def read(self, i: int) -> Any:
        """Example `i`; raises `UnreadableImage`, which names it."""


class TrainBatches:
    """Micro-batches of an epoch, in an order and with augmentations of their own for each epoch.

    A batch is `{"image": uint8 B 3 H W, "label": int64 B, "unreadable": [name, ...]}`, where
    B = batch_size / (world * accumulate). A `transform` that is given stands in for that of `augment`, without which
    `images` must be an `ImageSet`; where it makes
    several tensors of a picture, by name, their stacks stand in for "image". With `repeats` a picture comes that many
    times in a row in the order that the ranks deal out among themselves, and an epoch keeps its length (repeated
    augmentation, as timm's RepeatAugSampler). A picture that cannot be read is named, and the next one stands in.

    Raises `UserError` where the batch does not divide or exceeds the set; iterating raises one at the first
    unreadable picture with `data.strict`, and at 50 in a row without.
    """

    def __init__(
        self,
        images: Examples,
        data: Data,
        augment: Augment,
        *,
        seed: int,
        rank: int = 0,
        world: int = 1,
        accumulate: int = 1,
        transform: Views | None = None,
    ):
        _check_batch(len(images), data, world, accumulate, mixes=bool(augment.mixup or augment.cutmix))
        self.steps: int = len(images) // data.batch_size
        """optimiser steps in an epoch; the pictures left over wait for another epoch"""
        size = data.batch_size // (world * accumulate)
        self._order = _Order(len(images), size, self.steps * accumulate, augment.repeats, seed, rank, world)
        if transform:
            view: View = partial(_view_of_example, images, transform)
        else:
            view = partial(_view_of_picture, cast(ImageSet, images), train_transform(data, augment))
        pictures = _TrainPictures(view, len(images), images.labels, data.strict)
        self._loader = _loader(pictures, self._order, data.workers)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The micro-batches of an epoch, `steps * accumulate` of them, from number `start` on."""
        self._order.epoch, self._order.start = epoch, start
        yield from _results(self._loader)


class EvalBatches:
    """Every picture once and in order; rank r takes pictures r, r + world, ... and the last batch may be small.

    A batch is `{"image": uint8 B 3 H W, "label": int64 B, "index": int64 B, "unreadable": [name, ...]}`. A picture
    that cannot be read is left out and named, so B may even be 0; with `strict` it raises `UserError`.
    """

    def __init__(
        self,
        images: ImageSet,
        preprocessing: Preprocessing,
        batch_size: int,
        workers: int,
        *,
        rank: int = 0,
        world: int = 1,
        strict: bool = False,
    ):
        own = range(rank, len(images), world)
        self._order = [list(own[i : i + batch_size]) for i in range(0, len(own), batch_size)]
        pictures = _EvalPictures(images, eval_transform(preprocessing), preprocessing.size, strict)
        self._loader = _loader(pictures, self._order, workers)

    def __len__(self) -> int:
        return len(self._order)

    def __iter__(self) -> Iterator[Batch]:
        return _results(self._loader)


class EvalPairs:
    """Every picture of a `MaskSet` once and in order, one at a time, as they are of any size; ranks as `EvalBatches`.

    A batch is `{"image": uint8 1 3 h w, "mask": uint8 1 H W, "index": int64 1, "unreadable": []}` as `transform` makes
    the two of a pair. Of a pair that cannot be read the first dimension is 0, and "unreadable" names it; with `strict`
    it raises `UserError`, as a mask that does not match its picture always does.
    """

    def __init__(
        self, masks: MaskSet, transform: Views, workers: int, *, rank: int = 0, world: int = 1, strict: bool = False
    ):
        self._order = range(rank, len(masks), world)
        self._loader = _loader(_EvalPairs(masks, transform, strict), self._order, workers)

    def __len__(self) -> int:
        return len(self._order)

    def __iter__(self) -> Iterator[Batch]:
        return _results(self._loader)


def _check_batch(pictures: int, data: Data, world: int, accumulate: int, mixes: bool) -> None:
    batch = data.batch_size
    unit = world * accumulate * (2 if mixes else 1)  # mixup pairs up the pictures of a micro-batch
    if batch % unit:
        parts = f"{world} processes x {accumulate} accumulated parts" + " x 2 pictures that are mixed" * mixes
        raise UserError(
            f"--data.batch-size {batch} does not divide into {parts}",
            f"try {max(1, batch // unit) * unit} or {(batch // unit + 1) * unit}",
        )
    if pictures < batch:
        hint = f"try {pictures // unit * unit}" if pictures >= max(unit, 2) else "add pictures"
        share = "" if data.fraction == 1 else f" that --data.fraction {data.fraction:g} leaves"
        there = f"the {counted(pictures, 'training picture')}{share}"
        raise UserError(f"--data.batch-size {batch} exceeds {there}", hint)


@dataclass
class _Order:
    """Which pictures are in which micro-batch, as lists of (index, key)."""

    pictures: int
    size: int
    batches: int
    repeats: int
    seed: int
    rank: int
    world: int
    epoch: int = 0
    start: int = 0

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        rng = np.random.default_rng([self.seed, self.epoch])
        order = rng.permutation(self.pictures)
        keys = rng.integers(2**63, size=self.pictures)
        for batch in range(self.start, self.batches):
            own = np.arange(batch * self.size, (batch + 1) * self.size)
            places = self.rank + self.world * own
            yield list(zip(order[places // self.repeats].tolist(), keys[places].tolist()))


class _Failure(NamedTuple):
    """A `UserError` on its way out of a worker: torch would make another exception of it."""

    what: str
    hint: str


@dataclass
class _TrainPictures(Dataset):
    view: View
    count: int
    labels: list[int] | None
    strict: bool

    def __getitem__(self, picks: list[tuple[int, int]]) -> Batch | _Failure:
        views, labels, unreadable = [], [], []
        try:
            with generators_kept():  # without workers, this is the engine's own process
                for first, key in picks:
                    index, view, passed = self._next_readable(first, key)
                    views.append(view)
                    if self.labels is not None:
                        labels.append(self.labels[index])
                    unreadable += passed
        except UserError as error:
            return _Failure(error.what, error.hint)
        stacks = default_collate(views)
        stacks = stacks if isinstance(stacks, dict) else {"image": stacks}
        own = {"label": torch.tensor(labels)} if labels else {}
        return stacks | own | {"unreadable": unreadable}

    def _next_readable(self, first: int, key: int) -> tuple[int, Any, list[str]]:
        """The first readable picture from `first` on: its index, its view, and the names of those passed over."""
        unreadable: list[str] = []
        most = min(MAX_IN_A_ROW, self.count)
        for index in range(first, first + most):
            index %= self.count
            seed_host(key)
            try:
                return index, self.view(index), unreadable
            except UnreadableImage as error:
                if self.strict:
                    raise
                unreadable.append(error.name)
        raise UserError(f"{most} pictures in a row cannot be read, from {unreadable[0]} on", "look at the files")


def _view_of_example(images: Examples, transform: Views, i: int) -> torch.Tensor | dict[str, torch.Tensor]:
    return transform(images.read(i))


def _view_of_picture(images: ImageSet, transform: TrainTransform, i: int) -> torch.Tensor:
    return transform(images.pictures[i])  # which decodes what it needs


@dataclass
class _EvalPictures(Dataset):
    images: ImageSet
    transform: Transform
    size: tuple[int, int]
    strict: bool

    def __getitem__(self, indices: list[int]) -> Batch | _Failure:
        views, read, unreadable = [], [], []
        for i in indices:
            try:
                views.append(self.transform(self.images.read(i)))
                read.append(i)
            except UnreadableImage as error:
                if self.strict:
                    return _Failure(error.what, error.hint)
                unreadable.append(error.name)
        return {
            "image": default_collate(views) if views else torch.empty(0, 3, *self.size, dtype=torch.uint8),
            "label": torch.tensor([self.images.labels[i] for i in read], dtype=torch.int64),
            "index": torch.tensor(read, dtype=torch.int64),
            "unreadable": unreadable,
        }


@dataclass
class _EvalPairs(Dataset):
    masks: MaskSet
    transform: Views
    strict: bool

    def __getitem__(self, i: int) -> Batch | _Failure:
        try:
            views = default_collate([self.transform(self.masks.read(i))])
        except UserError as error:
            if self.strict or not isinstance(error, UnreadableImage):
                return _Failure(error.what, error.hint)
            nothing = {"image": torch.empty(0, 3, 1, 1, dtype=torch.uint8), "mask": torch.empty(0, 1, 1).byte()}
            return nothing | {"index": torch.empty(0, dtype=torch.int64), "unreadable": [error.name]}
        return views | {"index": torch.tensor([i]), "unreadable": []}


def _loader(pictures: Dataset, order: Iterable, workers: int) -> DataLoader:
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


def _results(loader: DataLoader) -> Iterator[Batch]:
    for batch in loader:
        if isinstance(batch, _Failure):
            raise UserError(batch.what, batch.hint)
        yield batch
