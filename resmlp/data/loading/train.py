"""Batches. What is in one is a function of (seed, epoch, rank, position) and of nothing else.

The number of workers changes nothing, and an epoch taken up in the middle goes on with the same batches: each place in
the epoch's order has its own key, and all generators are seeded with it before that image is transformed.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, cast

import numpy as np
import torch
from torch.utils.data import Dataset, default_collate

from resmlp.config import Augment, Data
from resmlp.data.images.imageset import ImageSet
from resmlp.data.images.transforms import TrainTransform, train_transform
from resmlp.data.loading.loader import Batch, Failure, Views, make_loader, results
from resmlp.imaging.decode import UnreadableImage
from resmlp.utils.errors import UserError, counted
from resmlp.utils.seeding import generators_kept, seed_host

MAX_IN_A_ROW = 50  # unreadable images, before it is the data that is broken

View = Callable[[int], torch.Tensor | dict[str, torch.Tensor]]
"""an example's number -> the uint8 tensor of one view, or several by name; raises `UnreadableImage`"""


class Examples(Protocol):
    """What is trained on: an `ImageSet`, or a `MaskSet`, of which images are read with the labels of their pixels."""

    @property
    def labels(self) -> list[int] | None:
        """Of each image as a whole; None: there are none, nor are they in a batch."""

    def __len__(self) -> int: ...

    def read(self, i: int) -> Any:
        """Example `i`; raises `UnreadableImage`, which names it."""


class TrainBatches:
    """Micro-batches of an epoch, in an order and with augmentations of their own for each epoch.

    A batch is `{"image": uint8 B 3 H W, "label": int64 B, "unreadable": [name, ...]}`, where
    B = batch_size / (world * accumulate). A `transform` that is given stands in for that of `augment`, without which
    `images` must be an `ImageSet`; where it makes
    several tensors of an image, by name, their stacks stand in for "image". With `repeats` an image comes that many
    times in a row in the order that the ranks deal out among themselves, and an epoch keeps its length (repeated
    augmentation, as timm's RepeatAugSampler). An image that cannot be read is named, and the next one stands in.

    Raises `UserError` where the batch does not divide or exceeds the set; iterating raises one at the first
    unreadable image with `data.strict`, and at 50 in a row without.
    """

    def __init__(
        self,
        dataset: Examples,
        data: Data,
        augment: Augment,
        *,
        seed: int,
        rank: int = 0,
        world: int = 1,
        accumulate: int = 1,
        transform: Views | None = None,
    ):
        _check_batch(len(dataset), data, world, accumulate, mixes=bool(augment.mixup or augment.cutmix))
        self.steps: int = len(dataset) // data.batch_size
        """optimizer steps in an epoch; the images left over wait for another epoch"""
        size = data.batch_size // (world * accumulate)
        self._order = _Order(len(dataset), size, self.steps * accumulate, augment.repeats, seed, rank, world)
        if transform:
            view: View = partial(_view_of_example, dataset, transform)
        else:
            view = partial(_view_of_image, cast(ImageSet, dataset), train_transform(data, augment))
        images = _TrainImages(view, len(dataset), dataset.labels, data.strict)
        self._loader = make_loader(images, self._order, data.workers)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The micro-batches of an epoch, `steps * accumulate` of them, from number `start` on."""
        self._order.epoch, self._order.start = epoch, start
        yield from results(self._loader)


def _check_batch(images: int, data: Data, world: int, accumulate: int, mixes: bool) -> None:
    batch = data.batch_size
    unit = world * accumulate * (2 if mixes else 1)  # mixup pairs up the images of a micro-batch
    if batch % unit:
        parts = f"{world} processes x {accumulate} accumulated parts" + " x 2 images that are mixed" * mixes
        raise UserError(
            f"--data.batch-size {batch} does not divide into {parts}",
            f"try {max(1, batch // unit) * unit} or {(batch // unit + 1) * unit}",
        )
    if images < batch:
        hint = f"try {images // unit * unit}" if images >= max(unit, 2) else "add images"
        share = "" if data.fraction == 1 else f" that --data.fraction {data.fraction:g} leaves"
        there = f"the {counted(images, 'training image')}{share}"
        raise UserError(f"--data.batch-size {batch} exceeds {there}", hint)


@dataclass
class _Order:
    """Which images are in which micro-batch, as lists of (index, key)."""

    images: int
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
        order = rng.permutation(self.images)
        keys = rng.integers(2**63, size=self.images)
        for batch in range(self.start, self.batches):
            own = np.arange(batch * self.size, (batch + 1) * self.size)
            places = self.rank + self.world * own
            yield list(zip(order[places // self.repeats].tolist(), keys[places].tolist()))


@dataclass
class _TrainImages(Dataset[Any]):
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
        """The first readable image from `first` on: its index, its view, and the names of those passed over."""
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
        raise UserError(f"{most} images in a row cannot be read, from {unreadable[0]} on", "look at the files")


def _view_of_example(images: Examples, transform: Views, i: int) -> torch.Tensor | dict[str, torch.Tensor]:
    return transform(images.read(i))


def _view_of_image(images: ImageSet, transform: TrainTransform, i: int) -> torch.Tensor:
    return transform(images.images[i])  # which decodes what it needs
