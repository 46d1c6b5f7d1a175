"""Images and the labels of their pixels: one pair, and sets of pairs."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol

import numpy as np
from PIL import Image

from resmlp.data.masks.files import Color, Labeling, image_size, mask_size
from resmlp.imaging.image_file import File
from resmlp.utils.errors import UserError

Labeled = tuple[Image.Image, np.ndarray]
"""an RGB image, and its labels: uint8 H W of the same size, 255 where they count for nothing"""


class Pair(Protocol):
    """An image and its labels, which can be read again and again and from any process."""

    @property
    def name(self) -> str:
        """What messages call it."""

    def read(self) -> Labeled:
        """Both; raises `UnreadableImage` where one of them is damaged, `UserError` where they do not match."""


class FilePair(NamedTuple):
    """A pair of two files."""

    image: str
    mask: str
    labeling: Labeling

    @property
    def name(self) -> str:
        """The image's."""
        return self.image

    def read(self) -> Labeled:
        """Both; raises `UserError` for a mask of another size than its image, and for a label out of range."""
        image, labels = File(self.image).read(), self.labeling.read(self.mask)
        self._demand_size(image.size, labels.shape[::-1])
        return image, labels

    def check(self) -> None:
        """Raise what the headers of the two files tell is amiss; no pixel is decoded where they agree."""
        image, mask = image_size(self.image), mask_size(self.mask, self.labeling.colors)
        if image != mask:  # of some files only the whole tells that the image lies on its side
            image = File(self.image).read().size
        self._demand_size(image, mask)

    def _demand_size(self, image: tuple[int, ...], mask: tuple[int, ...]) -> None:
        if image != mask:
            theirs, ours = ("{}x{}".format(*size) for size in (image, mask))
            what = f"the mask {self.mask} is {ours} (width x height), and its image {self.image} {theirs}"
            raise UserError(what, "a mask has a label for each pixel of its image")


@dataclass(frozen=True)
class MaskSet:
    """Images and the labels of their pixels, and what these mean; it can be pickled and forked."""

    classes: tuple[str, ...]
    """name of each label"""
    palette: tuple[Color, ...]
    """a color for each label, for people"""
    pairs: Sequence[Pair]
    notes: tuple[str, ...] = ()
    """what a person should hear of it before training"""
    labels: ClassVar[None] = None  # an image as a whole has none

    def __len__(self) -> int:
        return len(self.pairs)

    def name(self, i: int) -> str:
        """Path of image `i`, for messages."""
        return self.pairs[i].name

    def read(self, i: int) -> Labeled:
        """Image `i` and its labels; raises `UnreadableImage` and `UserError`, as its pair does."""
        return self.pairs[i].read()

    def subset(self, indices: Iterable[int]) -> "MaskSet":
        """The pairs of these indices, in this order."""
        return MaskSet(self.classes, self.palette, [self.pairs[i] for i in indices], self.notes)
