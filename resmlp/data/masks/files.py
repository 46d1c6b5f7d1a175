"""Read one mask file: the label of each pixel, or an error that names the file.

In a file, a class has a number. In memory, class k has label k, from 0, and pixels with label 255 are ignored.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from resmlp.imaging.decode import FORMATS, UnreadableImage, describe_error
from resmlp.utils.checks import demand
from resmlp.utils.errors import UserError

IGNORED = 255
"""label of the pixels that are ignored, whatever their number in the file"""
MAX_CLASSES = IGNORED
NUMBER_COUNT = 2**16  # the numbers that a PNG with one channel can contain
ONE_CHANNEL = ("1", "L", "P", "I", "I;16")
STRETCHED = {"L;2": 85, "L;4": 17}  # Pillow multiplies gray of 2 and 4 bits, to the range 0 to 255
ORIENTATION = 0x0112  # EXIF tag; values 5 to 8 swap width and height

Color = tuple[int, int, int]
Colors = Sequence[tuple[int, Color]]
"""(number, color) of each color of an RGB mask"""


@dataclass(frozen=True)
class LabelMap:
    """The map from the numbers in mask files to labels."""

    num_classes: int
    """at most 255"""
    first: int = 0
    """the number of class 0; smaller numbers are ignored"""
    ignored: frozenset[int] = frozenset()
    """other numbers that are ignored"""
    colors: tuple[tuple[int, Color], ...] = ()
    """the colors of RGB masks; empty: RGB masks are not accepted"""

    @cached_property
    def table(self) -> np.ndarray:
        """The label of each number, or -1 for a number out of range: int16 of 65,536."""
        table = np.full(NUMBER_COUNT, -1, np.int16)
        table[self.first : self.first + self.num_classes] = np.arange(self.num_classes)
        table[: self.first] = IGNORED
        table[list(self.ignored)] = IGNORED
        return table

    def read(self, name: str) -> np.ndarray:
        """The labels of the mask file `name`, uint8 H W.

        Raises `UnreadableImage` for a damaged file, `UserError` for a file that is not a mask or has a number out of
        range.
        """
        numbers = read_numbers(name, self.colors)
        labels = self.table[numbers]
        if labels.min() < 0:
            invalid = np.unique(numbers[labels < 0])
            more = f" and {len(invalid) - 1} more" if len(invalid) > 1 else ""
            last = self.first + self.num_classes - 1
            what = f"{name} has label {invalid[0]}{more}, but the {self.num_classes} classes are {self.first} to {last}"
            raise UserError(what, "set --task.ignore-index or --task.reduce-zero-label if they apply")
        return labels.astype(np.uint8)


def read_numbers(name: str, colors: Colors = ()) -> np.ndarray:
    """The numbers in a mask file, unsigned H W.

    A PNG with one channel of 1 to 16 bits contains the numbers as pixel values, one with a palette as palette indices;
    the colors of the palette are not used. An RGB mask is read by its `colors`. Raises as `LabelMap.read` does.
    """
    with _open(name) as mask:
        _check_mask(name, mask, bool(colors))
        factor = STRETCHED.get(str(mask.tile[0][3]), 1)  # type: ignore[attr-defined]
        pixels = np.asarray(mask)
    if pixels.ndim == 3:
        return _numbers_of_colors(name, pixels, colors)
    return (pixels // factor if factor > 1 else pixels).astype(np.uint8 if pixels.itemsize == 1 else np.uint16)


def mask_size(name: str, colors: Colors = ()) -> tuple[int, int]:
    """(width, height) of a mask file, from its header; raises as `LabelMap.read` does."""
    with _open(name) as mask:
        _check_mask(name, mask, bool(colors))
        return mask.size


def image_size(name: str) -> tuple[int, int]:
    """(width, height) of an image file after EXIF rotation, as far as its header contains it.

    Raises `UnreadableImage`.
    """
    with _open(name) as image:
        if image.format == "TIFF" or (image.format == "PNG" and "exif" not in image.info):
            return image.size  # Pillow has rotated a TIFF, and would decode a whole PNG to search for EXIF at its end
        swapped = image.getexif().get(ORIENTATION, 1) in (5, 6, 7, 8)
        return image.size[::-1] if swapped else image.size


@contextmanager
def _open(name: str) -> Iterator[Image.Image]:
    try:
        with Path(name).open("rb") as file, Image.open(file, formats=FORMATS) as image:
            yield image
    except UserError:
        raise
    except Exception as error:  # Pillow's decoders raise many kinds of exceptions for damaged files
        raise UnreadableImage(name, describe_error(error)) from error


def _check_mask(name: str, mask: Image.Image, has_colors: bool) -> None:
    what = f"the mask {name} is a {mask.format} file"
    demand(mask.format == "PNG", what, "save masks as PNG, which does not change labels")
    what = f"the mask {name} has colors ({mask.mode})"
    hint = "save the class number of each pixel as one channel; for RGB masks, list the colors in palette.txt"
    demand(mask.mode in ONE_CHANNEL or (has_colors and mask.mode == "RGB"), what, hint)


def _numbers_of_colors(name: str, pixels: np.ndarray, colors: Colors) -> np.ndarray:
    """RGB pixels H W 3 -> the numbers of their colors, uint16 H W."""
    numbers, known_colors = (np.array(column) for column in zip(*colors))
    known = _color_codes(known_colors)
    order = np.argsort(known)
    codes = _color_codes(pixels)
    position = np.searchsorted(known[order], codes).clip(0, len(known) - 1)
    unknown = codes != known[order][position]
    if unknown.any():
        color = " ".join(map(str, pixels[unknown][0]))
        what = f"{name} has the color {color}, which is not in palette.txt"
        raise UserError(what, "add the color with the number of its class")
    return numbers[order][position].astype(np.uint16)


def _color_codes(colors: np.ndarray) -> np.ndarray:
    """Colors ... 3 -> ..., one integer for each color."""
    return colors.astype(np.int64) @ np.array([2**16, 2**8, 1])
