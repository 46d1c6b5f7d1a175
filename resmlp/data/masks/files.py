"""One mask file -> the label of each pixel, or an error that names it.

In a file a class is a number; in memory class k is label k, from 0, and 255 is a pixel that counts for nothing.
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
"""label of a pixel that counts for nothing, whatever its number was in the file"""
MOST_CLASSES = IGNORED
NUMBERS = 2**16  # that a PNG of one channel can hold
ONE_CHANNEL = ("1", "L", "P", "I", "I;16")
STRETCHED = {"L;2": 85, "L;4": 17}  # Pillow stretches gray of 2 and 4 bits to 0 to 255
ORIENTATION = 0x0112  # EXIF; 5 to 8 lie on their side

Color = tuple[int, int, int]
Colors = Sequence[tuple[int, Color]]
"""(number, color) of each color of an RGB mask"""


@dataclass(frozen=True)
class Labeling:
    """What the numbers in masks mean."""

    classes: int
    """255 at most"""
    first: int = 0
    """the number of class 0; those below it count for nothing"""
    ignored: frozenset[int] = frozenset()
    """numbers that count for nothing as well"""
    colors: tuple[tuple[int, Color], ...] = ()
    """of RGB masks; empty: no mask is RGB"""

    @cached_property
    def table(self) -> np.ndarray:
        """Number -> label, or -1 for a number out of range: int16 of 65,536."""
        table = np.full(NUMBERS, -1, np.int16)
        table[self.first : self.first + self.classes] = np.arange(self.classes)
        table[: self.first] = IGNORED
        table[list(self.ignored)] = IGNORED
        return table

    def read(self, name: str) -> np.ndarray:
        """The labels of the mask `name`, uint8 H W.

        Raises `UnreadableImage` for a damaged file, `UserError` for one that is no mask and for a label out of range.
        """
        numbers = read_numbers(name, self.colors)
        labels = self.table[numbers]
        if labels.min() < 0:
            bad = np.unique(numbers[labels < 0])
            more = f" and {len(bad) - 1} more" if len(bad) > 1 else ""
            last = self.first + self.classes - 1
            what = f"{name} has label {bad[0]}{more}, and the {self.classes} classes are {self.first} to {last}"
            raise UserError(what, "is it --task.ignore-index, or is --task.reduce-zero-label meant?")
        return labels.astype(np.uint8)


def read_numbers(name: str, colors: Colors = ()) -> np.ndarray:
    """The numbers in a mask, H W, unsigned.

    They are the pixels of a PNG of one channel, of 1 to 16 bits, and of one with a palette its indices, whatever the
    palette's colors; an RGB mask is read by its `colors`. Raises as `Labeling.read` does.
    """
    with _opened(name) as mask:
        _demand_mask(name, mask, bool(colors))
        stretch = STRETCHED.get(str(mask.tile[0][3]), 1)  # type: ignore[attr-defined]
        pixels = np.asarray(mask)
    if pixels.ndim == 3:
        return _of_colors(name, pixels, colors)
    return (pixels // stretch if stretch > 1 else pixels).astype(np.uint8 if pixels.itemsize == 1 else np.uint16)


def mask_size(name: str, colors: Colors = ()) -> tuple[int, int]:
    """(width, height) of a mask, from its header alone; raises as `Labeling.read` does."""
    with _opened(name) as mask:
        _demand_mask(name, mask, bool(colors))
        return mask.size


def image_size(name: str) -> tuple[int, int]:
    """(width, height) of an image that is a file, upright (EXIF) as far as its header tells.

    Raises `UnreadableImage`.
    """
    with _opened(name) as image:
        if image.format == "TIFF" or (image.format == "PNG" and "exif" not in image.info):
            return image.size  # Pillow has turned the one, and would decode all of the other to look behind its pixels
        turned = image.getexif().get(ORIENTATION, 1) in (5, 6, 7, 8)
        return image.size[::-1] if turned else image.size


@contextmanager
def _opened(name: str) -> Iterator[Image.Image]:
    try:
        with Path(name).open("rb") as file, Image.open(file, formats=FORMATS) as image:
            yield image
    except UserError:
        raise
    except Exception as error:  # Pillow's decoders raise nearly anything on broken bytes
        raise UnreadableImage(name, describe_error(error)) from error


def _demand_mask(name: str, mask: Image.Image, colors: bool) -> None:
    kind, one = f"{name} is a {mask.format} file in a mask's place", "a mask is a PNG, which keeps each label as it is"
    demand(mask.format == "PNG", kind, one)
    strange = f"{name} is an image in colors ({mask.mode}) in a mask's place"
    hint = "save the number of each pixel's class as one channel; for RGB, palette.txt beside images/ names the colors"
    demand(mask.mode in ONE_CHANNEL or (colors and mask.mode == "RGB"), strange, hint)


def _of_colors(name: str, pixels: np.ndarray, colors: Colors) -> np.ndarray:
    """RGB pixels H W 3 -> the numbers of their colors, uint16 H W."""
    numbers, known = (np.array(column) for column in zip(*colors))
    known = _packed(known)
    order = np.argsort(known)
    found = _packed(pixels)
    place = np.searchsorted(known[order], found).clip(0, len(known) - 1)
    strange = found != known[order][place]
    if strange.any():
        color = " ".join(map(str, pixels[strange][0]))
        raise UserError(f"{name} has the color {color}, which palette.txt lacks", "add it, with the number it means")
    return numbers[order][place].astype(np.uint16)


def _packed(colors: np.ndarray) -> np.ndarray:
    """Colors ... 3 -> ..., one number for each."""
    return colors.astype(np.int64) @ np.array([2**16, 2**8, 1])
