"""Batches. What is in one is a function of (seed, epoch, rank, position) and of nothing else.

The number of workers changes nothing, and an epoch taken up in the middle goes on with the same batches: each place in
the epoch's order has its own key, and all generators are seeded with it before that picture is transformed.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, cast

import numpy as np
import torch
from torch.utils.data import Dataset, default_collate

from resmlp.config import Augment, Data
from resmlp.data.images import ImageSet
from resmlp.data.loader import Batch, Failure, Views, make_loader, results
from resmlp.data.transforms import TrainTransform, train_transform
from resmlp.errors import UserError
from resmlp.imaging.decode import UnreadableImage
from resmlp.randomness import generators_kept, seed_host
from resmlp.words import counted

MAX_IN_A_ROW = 50  # unreadable pictures, before it is the data that is broken

View = Callable[[int], torch.Tensor | dict[str, torch.Tensor]]
"""an example's number -> the uint8 tensor of one view, or several by name; raises `UnreadableImage`"""


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
        self._loader = make_loader(pictures, self._order, data.workers)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The micro-batches of an epoch, `steps * accumulate` of them, from number `start` on."""
        self._order.epoch, self._order.start = epoch, start
        yield from results(self._loader)


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


@dataclass
class _TrainPictures(Dataset):
    view: View
    count: int
    labels: list[int] | None
    strict: bool

    def __getitem__(self, picks: list[tuple[int, int]]) -> Batch | Failure:
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
            return Failure(error.what, error.hint)
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
