"""Images and the labels of their pixels: one pair, and data sets of pairs."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple, Protocol

import numpy as np
from PIL import Image

from resmlp.config.preprocessing import Decoding
from resmlp.data.masks.files import MAX_CLASSES, Color, LabelMap, image_header, mask_size
from resmlp.imaging.decode import DEFAULT, UnreadableImage
from resmlp.imaging.image_file import FAR, Encoded, content_mark
from resmlp.imaging.orientation import SWAPPED
from resmlp.utils.errors import UserError

UNKNOWN = LabelMap(MAX_CLASSES)
"""the map of pairs whose classes are not known yet"""
ImageAndLabels = tuple[Image.Image, np.ndarray]
"""an RGB image, and its labels: uint8 H W of the same size, 255 for ignored pixels"""


class Pair(Protocol):
    """An image and its labels, which can be read any number of times and from any process."""

    @property
    def name(self) -> str:
        """The pair's name in messages."""

    def read(self) -> ImageAndLabels:
        """Both; raises `UnreadableImage` if one of them is damaged, `UserError` if they do not match."""


class FilePair(NamedTuple):
    """An image file and a mask file, each on disk or in a shard."""

    image: Encoded
    mask: Encoded
    label_map: LabelMap
    decoding: Decoding = DEFAULT
    path: str = ""
    """the path of the image in the data set"""
    missing: str = ""
    """why the pair cannot be read; empty if it can"""

    @property
    def name(self) -> str:
        """That of the image."""
        return self.image.name

    def read(self) -> ImageAndLabels:
        """Both; raises `UserError` if the sizes differ and for a label out of range."""
        if self.missing:
            raise UnreadableImage(self.name, self.missing)
        image, labels = self.image.decoded(self.decoding).read(), self.label_map.read(self.mask)
        self._check_size(image.size, labels.shape[::-1])
        return image, labels

    @property
    def content(self) -> str:
        """A short mark of the content of both files; empty if one is gone, `FAR` if they would have to be fetched."""
        marks = [content_mark(file) for file in (self.image, self.mask)]
        if FAR in marks:
            return FAR
        return "+".join(marks) if all(marks) else ""

    def check(self) -> int:
        """Check the headers of both files as `read` does; decodes pixels only if the sizes in the headers differ.

        Returns the EXIF orientation of the image; 1 is upright.
        """
        header, mask = image_header(self.image, self.decoding.exif), mask_size(self.mask)
        size = header.size
        if size != mask:  # in some formats the EXIF orientation comes after the pixels
            size = self.image.decoded(self.decoding).read().size
        self._check_size(size, mask, turned=header.orientation in SWAPPED)
        return header.orientation

    def _check_size(self, image: tuple[int, ...], mask: tuple[int, ...], turned: bool = False) -> None:
        if image != mask:
            image_text, mask_text = ("{}x{}".format(*size) for size in (image, mask))
            image_name, mask_name = self.image.name, self.mask.name
            what = f"the mask {mask_name} is {mask_text} (width x height), but its image {image_name} is {image_text}"
            other = "ignore" if self.decoding.exif == "apply" else "apply"
            hint = f"; its EXIF orientation swaps the sides: try --data.exif {other}" if turned else ""
            raise UserError(what, f"a mask needs the size of its image{hint}")


@dataclass(frozen=True)
class MaskSet:
    """Images with the labels of their pixels, and the classes; safe to pickle and to fork."""

    classes: tuple[str, ...]
    """the name of each label"""
    palette: tuple[Color, ...]
    """a color for each label, for figures"""
    pairs: Sequence[Pair]
    notes: tuple[str, ...] = ()
    """messages for the user, to show before training"""
    unused: tuple[str, ...] = ()
    """the paths of the images that `data.fraction` or `data.folds` leaves out"""
    labels: ClassVar[None] = None  # there is no label for a whole image

    def __len__(self) -> int:
        return len(self.pairs)

    def name(self, i: int) -> str:
        """The path of image `i`, for messages."""
        return self.pairs[i].name

    def path(self, i: int) -> str:
        """The path of image `i` in the data set, or its name: what identifies it."""
        return getattr(self.pairs[i], "path", "") or self.name(i)

    def content(self, i: int) -> str:
        """A short mark of the content of image `i` and of its mask; empty if one is gone."""
        return str(getattr(self.pairs[i], "content", ""))

    def class_names(self, i: int) -> str:
        """Empty: an image has no class as a whole."""
        return ""

    def read(self, i: int) -> ImageAndLabels:
        """Image `i` and its labels; raises `UnreadableImage` and `UserError` as `Pair.read` does."""
        return self.pairs[i].read()

    def subset(self, indices: Iterable[int]) -> "MaskSet":
        """The pairs of these indices, in this order."""
        return replace(self, pairs=[self.pairs[i] for i in indices])
