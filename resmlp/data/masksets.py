"""Pictures and the labels of their pixels: one pair, and sets of pairs."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol

import numpy as np
from PIL import Image

from resmlp.data.maskfiles import Colour, Labelling, mask_size, picture_size
from resmlp.errors import UserError
from resmlp.imaging.pictures import File

Labelled = tuple[Image.Image, np.ndarray]
"""an RGB picture, and its labels: uint8 H W of the same size, 255 where they count for nothing"""


class Pair(Protocol):
    """A picture and its labels, which can be read again and again and from any process."""

    @property
    def name(self) -> str:
        """What messages call it."""

    def read(self) -> Labelled:
        """Both; raises `UnreadableImage` where one of them is damaged, `UserError` where they do not match."""


class FilePair(NamedTuple):
    """A pair of two files."""

    picture: str
    mask: str
    labelling: Labelling

    @property
    def name(self) -> str:
        """The picture's."""
        return self.picture

    def read(self) -> Labelled:
        """Both; raises `UserError` for a mask of another size than its picture, and for a label out of range."""
        image, labels = File(self.picture).read(), self.labelling.read(self.mask)
        self._demand_size(image.size, labels.shape[::-1])
        return image, labels

    def check(self) -> None:
        """Raise what the headers of the two files tell is amiss; no pixel is decoded where they agree."""
        picture, mask = picture_size(self.picture), mask_size(self.mask, self.labelling.colours)
        if picture != mask:  # of some files only the whole tells that the picture lies on its side
            picture = File(self.picture).read().size
        self._demand_size(picture, mask)

    def _demand_size(self, picture: tuple[int, ...], mask: tuple[int, ...]) -> None:
        if picture != mask:
            theirs, ours = ("{}x{}".format(*size) for size in (picture, mask))
            what = f"the mask {self.mask} is {ours} (width x height), and its picture {self.picture} {theirs}"
            raise UserError(what, "a mask has a label for each pixel of its picture")


@dataclass(frozen=True)
class MaskSet:
    """Pictures and the labels of their pixels, and what these mean; it can be pickled and forked."""

    classes: tuple[str, ...]
    """name of each label"""
    palette: tuple[Colour, ...]
    """a colour for each label, for people"""
    pairs: Sequence[Pair]
    notes: tuple[str, ...] = ()
    """what a person should hear of it before training"""
    labels: ClassVar[None] = None  # a picture as a whole has none

    def __len__(self) -> int:
        return len(self.pairs)

    def name(self, i: int) -> str:
        """Path of picture `i`, for messages."""
        return self.pairs[i].name

    def read(self, i: int) -> Labelled:
        """Picture `i` and its labels; raises `UnreadableImage` and `UserError`, as its pair does."""
        return self.pairs[i].read()

    def subset(self, indices: Iterable[int]) -> "MaskSet":
        """The pairs of these indices, in this order."""
        return MaskSet(self.classes, self.palette, [self.pairs[i] for i in indices], self.notes)
