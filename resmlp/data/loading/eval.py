"""Evaluation batches: every image once, over any number of processes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch.utils.data import default_collate

from resmlp.config.preprocessing import Preprocessing
from resmlp.data.images.imageset import ImageSet
from resmlp.data.images.transforms import Transform, eval_transform
from resmlp.data.loading.loader import Batch, ExampleTransform, Failure, Loader
from resmlp.data.loading.workers import note_reading
from resmlp.data.masks.maskset import MaskSet
from resmlp.imaging.decode import UnreadableImage
from resmlp.utils.errors import UserError


class EvalBatches:
    """Every image once and in order; rank r takes images r, r + world, ...; the last batch may be smaller.

    With `shapes`, sizes (height, width) in place of that of the preprocessing, an image becomes the nearest of them as
    a whole, and the images of each shape are a batch of their own. A batch is `{"image": uint8 B 3 H W, "label": int64
    B, "index": int64 B, "unreadable": [name, ...], "reasons": {index: why}}`. An image that cannot be read is only in
    the last two, so B may be 0; with `strict` it raises `UserError`. `order` has the images of each batch, in place of
    the share of the rank.
    """

    def __init__(
        self,
        dataset: ImageSet,
        preprocessing: Preprocessing,
        batch_size: int,
        workers: int,
        *,
        rank: int = 0,
        world: int = 1,
        strict: bool = False,
        shapes: Sequence[tuple[int, int]] = (),
        order: Sequence[Sequence[int]] | None = None,
    ):
        indices = range(rank, len(dataset), world)
        batches = [indices[i : i + batch_size] for i in range(0, len(indices), batch_size)] if order is None else order
        self._order: Sequence[Sequence[int]] = batches
        dataset = dataset.decoded(preprocessing.decoding)
        images = _EvalImages(dataset, eval_transform(preprocessing, shapes), preprocessing.size, strict)
        self._loader = Loader(images, self._order, workers, strict)

    def __len__(self) -> int:
        return len(self._order)

    def __iter__(self) -> Iterator[Batch]:
        for batches in self._loader:
            yield from batches


class EvalPairs:
    """Every pair of a `MaskSet` once and in order, one in a batch, as sizes differ; ranks as in `EvalBatches`.

    A batch is `{"image": uint8 1 3 h w, "mask": uint8 1 H W, "index": int64 1, "unreadable": []}` with the image and
    the mask that `transform` returns. If a pair cannot be read, the first dimension is 0 and "unreadable" has its
    name; with `strict` it raises `UserError`. A mask that does not match its image always raises `UserError`.
    """

    def __init__(
        self,
        masks: MaskSet,
        transform: ExampleTransform,
        workers: int,
        *,
        rank: int = 0,
        world: int = 1,
        strict: bool = False,
    ):
        self._order = range(rank, len(masks), world)
        self._loader = Loader(_EvalPairs(masks, transform, strict), self._order, workers, strict)

    def __len__(self) -> int:
        return len(self._order)

    def __iter__(self) -> Iterator[Batch]:
        return iter(self._loader)


@dataclass
class _EvalImages:
    images: ImageSet
    transform: Transform
    size: tuple[int, int]
    strict: bool

    def name(self, index: int) -> str:
        return self.images.name(index)

    def __getitem__(self, indices: Sequence[int]) -> list[Batch] | Failure:
        read = dict[torch.Size, tuple[list[torch.Tensor], list[int]]]()
        failed = dict[int, UnreadableImage]()
        for i in indices:
            try:
                note_reading(i, self.images.name(i))
                view = self.transform(self.images.read(i))
                views, places = read.setdefault(view.shape, ([], []))
                views.append(view)
                places.append(i)
            except UserError as error:
                if self.strict or not isinstance(error, UnreadableImage):
                    return Failure(error.what, error.hint)
                failed[i] = error
        if not read:
            return [self._batch(torch.empty(0, 3, *self.size, dtype=torch.uint8), [], failed)]
        groups = [(default_collate(views), places) for views, places in read.values()]
        return [self._batch(*group, failed if i == 0 else {}) for i, group in enumerate(groups)]

    def _batch(self, images: torch.Tensor, places: list[int], failed: dict[int, UnreadableImage]) -> Batch:
        labels = torch.tensor([self.images.labels[i] for i in places], dtype=torch.int64)
        return {
            "image": images,
            "label": labels,
            "index": torch.tensor(places, dtype=torch.int64),
            "unreadable": [error.name for error in failed.values()],
            "reasons": {i: error.reason for i, error in failed.items()},
        }


@dataclass
class _EvalPairs:
    masks: MaskSet
    transform: ExampleTransform
    strict: bool

    def name(self, index: int) -> str:
        return self.masks.name(index)

    def __getitem__(self, i: int) -> Batch | Failure:
        try:
            note_reading(i, self.masks.name(i))
            views = default_collate([self.transform(self.masks.read(i))])
        except UserError as error:
            if self.strict or not isinstance(error, UnreadableImage):
                return Failure(error.what, error.hint)
            empty = {"image": torch.empty(0, 3, 1, 1, dtype=torch.uint8), "mask": torch.empty(0, 1, 1).byte()}
            return empty | {"index": torch.empty(0, dtype=torch.int64), "unreadable": [error.name]}
        return views | {"index": torch.tensor([i]), "unreadable": []}
