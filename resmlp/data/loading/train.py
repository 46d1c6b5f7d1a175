"""Training batches: the contents are a function of (seed, epoch, position), for any number of processes.

They do not depend on the number of workers, and an epoch resumed in the middle continues with the same batches. Each
position in the order of an epoch has its own key, which seeds all generators before the image is transformed. Image and
key of a position are computed from it, so no process has a list of the images of an epoch.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, cast

import numpy as np
import torch
from torch.utils.data import default_collate

from resmlp.config import Augment, Data
from resmlp.data.images.imageset import ImageSet
from resmlp.data.images.transforms import TrainTransform, train_transform
from resmlp.data.loading.loader import Batch, ExampleTransform, Failure, Loader
from resmlp.data.loading.order import Order, epoch_order, hashed
from resmlp.data.loading.resampling import ResampledOrder
from resmlp.data.loading.workers import note_reading
from resmlp.imaging.decode import UnreadableArchive, UnreadableImage
from resmlp.nn.shared_masks import Places
from resmlp.utils.errors import UserError, counted
from resmlp.utils.seeding import derive, preserved_generators, seed_host

MAX_UNREADABLE = 50  # unreadable images in a row, before training stops
ORDER, IMAGES = 0, 1  # what is drawn in an epoch: the order, and the key of each position

LoadExample = Callable[[int], torch.Tensor | dict[str, torch.Tensor]]
"""from the index of an example to one uint8 tensor, or to several by name; raises `UnreadableImage`"""


class Examples(Protocol):
    """A training set: an `ImageSet`, or a `MaskSet`, which reads images with the labels of their pixels."""

    @property
    def labels(self) -> Sequence[int] | None:
        """The label of each image; None if images have no labels: then batches have no "label"."""

    def __len__(self) -> int: ...

    def name(self, i: int) -> str:
        """The name of example `i`, for messages."""

    def read(self, i: int) -> Any:
        """Example `i`; raises `UnreadableImage`."""


class TrainBatches:
    """The micro-batches of each epoch, in a random order and with random augmentation.

    A batch is `{"image": uint8 B 3 H W, "label": int64 B, "index": int64 B, "key": int64 B, "unreadable": [name, ...],
    "places": ...}`, where B = batch_size / (world * accumulate), an index is the place of an image in the data set, a
    key is a random number of the image at this position of the epoch, and `places` are those of the images among the
    B * world images of all processes (None for one process).

    `transform` replaces the transform of `augment`; without it, `dataset` must be an `ImageSet`. If it returns several
    tensors by name, their stacks replace "image". With `augment.repeats` each image occurs that many times in a row in
    the order that is dealt to the ranks, and the length of an epoch does not change (repeated augmentation, as timm's
    RepeatAugSampler). An image that cannot be read is in "unreadable", and the next image replaces it; where its
    whole archive cannot be read, that is in "unreadable", and an image of another one replaces it. With
    `data.resample` rare classes occur more often (`ResampledOrder`).

    Raises `UserError` if the batch size does not divide into parts or exceeds the data set, and if images without
    classes are to be resampled. Iterating raises it at the
    first unreadable image with `data.strict`, otherwise after 50 unreadable images in a row.
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
        transform: ExampleTransform | None = None,
    ):
        _check_batch(len(dataset), data, world, accumulate, mixes=bool(augment.mixup or augment.cutmix))
        self.steps: int = len(dataset) // data.batch_size
        """optimizer steps in an epoch; the remaining images are not used in this epoch"""
        size = data.batch_size // (world * accumulate)
        mixes = bool(augment.mixup or augment.cutmix)
        own = paired(size * world, rank, world) if mixes else range(rank, size * world, world)
        self._places = Places(size * world, torch.tensor(own)) if world > 1 else None
        draw = epoch_order(len(dataset)) if data.resample is None else ResampledOrder(dataset.labels, data.resample)
        self._order = _Order(draw, np.asarray(own), size * world, self.steps * accumulate, augment.repeats, seed)
        if transform:
            load: LoadExample = partial(_load_example, dataset, transform)
        else:
            load = partial(_load_image, cast(ImageSet, dataset), train_transform(data, augment))
        images = _TrainImages(load, dataset, data.strict)
        self._loader = Loader(images, self._order, data.workers, data.strict)

    @property
    def deaths(self) -> int:
        """Worker processes that died so far."""
        return self._loader.deaths

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The `steps * accumulate` micro-batches of an epoch, from number `start` on."""
        self._order.epoch, self._order.start = epoch, start
        for batch in self._loader:
            yield batch | {"places": self._places}


def paired(total: int, rank: int, world: int) -> list[int]:
    """The places of process `rank` among `total` images, so that both images of each pair (i, total - 1 - i) are in it.

    Mixup and CutMix mix an image with the one at the same distance from the other end of the batch; so each image has
    the same partner on any number of processes. `total / 2` is a multiple of `world`.
    """
    first = range(rank, total // 2, world)
    return [*first, *(total - 1 - i for i in reversed(first))]


def _check_batch(images: int, data: Data, world: int, accumulate: int, mixes: bool) -> None:
    batch = data.batch_size
    unit = world * accumulate * (2 if mixes else 1)  # mixup mixes pairs of images in a micro-batch
    if batch % unit:
        parts = f"{world} processes x {accumulate} accumulated parts" + " x 2 mixed images" * mixes
        raise UserError(
            f"--data.batch-size {batch} does not divide into {parts}",
            f"try {max(1, batch // unit) * unit} or {(batch // unit + 1) * unit}",
        )
    if images < batch:
        hint = f"try {images // unit * unit}" if images >= max(unit, 2) else "add images"
        fraction = "" if data.fraction == 1 else f" of --data.fraction {data.fraction:g}"
        what = f"--data.batch-size {batch} exceeds the {counted(images, 'training image')}{fraction}"
        raise UserError(what, hint)


@dataclass
class _Order:
    """The images of the micro-batches of an epoch, from number `start` on: a list of (index, key) for each."""

    draw: Order
    own: np.ndarray
    """int64 B: the places of this process in a micro-batch of all processes"""
    total: int
    """number of those places"""
    batches: int
    repeats: int
    seed: int
    epoch: int = 0
    start: int = 0

    def __len__(self) -> int:
        return max(0, self.batches - self.start)

    def __getitem__(self, number: int) -> list[tuple[int, int]]:
        positions = (self.start + number) * self.total + self.own
        order_key, image_key = (derive(self.seed, self.epoch, stream) for stream in (ORDER, IMAGES))
        indices = self.draw(positions // self.repeats, order_key)
        return list(zip(indices.tolist(), hashed(positions, image_key).tolist()))


@dataclass
class _TrainImages:
    load: LoadExample
    examples: Examples
    strict: bool

    def name(self, index: int) -> str:
        return self.examples.name(index)

    def __getitem__(self, picks: list[tuple[int, int]]) -> Batch | Failure:
        views, chosen, unreadable = [], [], []
        try:
            with preserved_generators():  # without workers, this is the engine's process
                for first, key in picks:
                    index, view, skipped = self._next_readable(first, key)
                    views.append(view)
                    chosen.append(index)
                    unreadable += skipped
        except UserError as error:
            return Failure(error.what, error.hint)
        stacks = default_collate(views)
        stacks = stacks if isinstance(stacks, dict) else {"image": stacks}
        labels = self.examples.labels
        label = {} if labels is None else {"label": torch.tensor([labels[i] for i in chosen])}
        keys = torch.tensor([key for _, key in picks])
        return stacks | label | {"index": torch.tensor(chosen), "key": keys, "unreadable": unreadable}

    def _next_readable(self, first: int, key: int) -> tuple[int, Any, list[str]]:
        """The first readable image from `first` on: its index, its view, and the names of those before it."""
        unreadable: list[str] = []
        count = len(self.examples)
        limit = min(MAX_UNREADABLE, count)
        index, step = first, 1
        for _ in range(limit):
            index %= count
            seed_host(key)
            try:
                note_reading(index, self.name(index))
                return index, self.load(index), unreadable
            except UnreadableImage as error:
                if self.strict:
                    raise
                unreadable += [error.name] * (error.name not in unreadable)
                index += step
                step *= 1 + isinstance(error, UnreadableArchive)  # the next ones are in the same archive
        raise UserError(
            f"{limit} images in a row cannot be read, from {unreadable[0]} on", "resmlp data check lists them"
        )


def _load_example(images: Examples, transform: ExampleTransform, i: int) -> torch.Tensor | dict[str, torch.Tensor]:
    return transform(images.read(i))


def _load_image(images: ImageSet, transform: TrainTransform, i: int) -> torch.Tensor:
    return transform(images.images[i])  # decodes only the crop
