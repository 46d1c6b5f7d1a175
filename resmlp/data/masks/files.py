"""Read one mask file: the label of each pixel, or an error that names the file.

In a file, a class has a number. In memory, class k has label k, from 0, and pixels with label 255 are ignored.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from PIL import Image

from resmlp.config.preprocessing import Exif
from resmlp.data.masks.soft_edges import check_edges
from resmlp.imaging.decode import UnreadableImage, describe_error
from resmlp.imaging.formats import open_image
from resmlp.imaging.image_file import Encoded
from resmlp.imaging.orientation import SWAPPED, orientation
from resmlp.utils.checks import demand
from resmlp.utils.errors import UserError

IGNORED = 255
"""label of the pixels that are ignored, whatever their number in the file"""
MAX_CLASSES = IGNORED
NUMBER_COUNT = 2**16  # the numbers that a PNG with one channel can contain
MODES = ("1", "L", "P", "I", "I;16", "LA", "RGB", "RGBA")
STRETCHED = {"L;2": 85, "L;4": 17}  # Pillow multiplies gray of 2 and 4 bits, to the range 0 to 255

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
    """the colors of RGB masks; empty: RGB masks must be gray, and gray values are numbers"""
    renumbered: tuple[tuple[int, int], ...] = ()
    """(number in the files, number of a class): the first is read as the second"""

    @cached_property
    def table(self) -> np.ndarray:
        """The label of each number, or -1 for a number out of range: int16 of 65,536."""
        table = np.full(NUMBER_COUNT, -1, np.int16)
        table[self.first : self.first + self.num_classes] = np.arange(self.num_classes)
        table[: self.first] = IGNORED
        table[list(self.ignored)] = IGNORED
        for number, target in self.renumbered:
            table[number] = target - self.first
        return table

    def read(self, mask: Encoded) -> np.ndarray:
        """The labels of a mask file, uint8 H W.

        Raises `UnreadableImage` for a damaged file, `UserError` for a file that is not a mask or has a number out of
        range.
        """
        return self.labels(mask.name, read_numbers(mask, self.colors))

    def labels(self, name: str, numbers: np.ndarray) -> np.ndarray:
        """The labels of the numbers H W in the mask file `name`, uint8 H W; raises `UserError` as `read` does."""
        labels = self.table[numbers]
        if labels.min() < 0:
            check_edges(name, numbers)
            invalid = np.unique(numbers[labels < 0])
            more = f" and {len(invalid) - 1} more" if len(invalid) > 1 else ""
            last = self.first + self.num_classes - 1
            what = f"{name} has label {invalid[0]}{more}, but the {self.num_classes} classes are {self.first} to {last}"
            hint = f"--task.label-map {invalid[0]} K reads it as class K, --task.ignore-index {invalid[0]} ignores it"
            raise UserError(what, hint + ("" if self.first else "; or set --task.reduce-zero-label"))
        return labels.astype(np.uint8)


def read_numbers(file: Encoded, colors: Colors = ()) -> np.ndarray:
    """The numbers in a mask file, unsigned H W.

    A PNG with one channel of 1 to 16 bits contains the numbers as pixel values, one with a palette as palette indices;
    the colors of the palette are not used. An RGB mask is read by its `colors`; without them, each pixel must be gray,
    and its value is the number. An opaque alpha channel is left out. Raises as `LabelMap.read` does.
    """
    name = file.name
    with _open(file) as mask:
        _check_mask(name, mask)
        factor = STRETCHED.get(_raw_mode(mask), 1)
        pixels = np.asarray(mask)
    if mask.mode in ("LA", "RGBA"):
        transparent = f"the mask {name} has transparent pixels ({mask.mode})"
        demand(pixels[..., -1].min() == 255, transparent, "save it without transparency: an opaque pixel has one label")
        pixels = pixels[..., 0] if mask.mode == "LA" else pixels[..., :3]
    if pixels.ndim == 3 and colors:
        return _numbers_of_colors(name, pixels, colors)
    if pixels.ndim == 3:
        gray = (pixels == pixels[..., :1]).all()
        hint = "save the class number of each pixel as one channel; for RGB masks, list the colors in palette.txt"
        demand(bool(gray), f"the mask {name} has colors ({mask.mode})", hint)
        pixels = pixels[..., 0]
    return (pixels // factor if factor > 1 else pixels).astype(np.uint8 if pixels.itemsize == 1 else np.uint16)


def mask_size(file: Encoded) -> tuple[int, int]:
    """(width, height) of a mask file, from its header; raises as `LabelMap.read` does."""
    with _open(file) as mask:
        _check_mask(file.name, mask)
        return mask.size


class ImageHeader(NamedTuple):
    """What the header of an image file says."""

    size: tuple[int, int]
    """(width, height) after the EXIF orientation, if it is applied"""
    orientation: int
    """EXIF: 1 is upright"""


def image_header(file: Encoded, exif: Exif) -> ImageHeader:
    """The header of an image file, as far as it contains the orientation. Raises `UnreadableImage`."""
    with _open(file) as image:
        turned = orientation(image)
        is_upright = image.format == "TIFF"  # Pillow applies the orientation of a TIFF itself
        swapped = turned in SWAPPED and is_upright != (exif == "apply")
        return ImageHeader(image.size[::-1] if swapped else image.size, turned)


@contextmanager
def _open(source: Encoded) -> Iterator[Image.Image]:
    try:
        with source.open() as file, open_image(file) as image:
            yield image
    except UserError:
        raise
    except Exception as error:  # Pillow's decoders raise many kinds of exceptions for damaged files
        raise UnreadableImage(source.name, describe_error(error)) from error


def _check_mask(name: str, mask: Image.Image) -> None:
    """Raise `UserError` unless the header is that of a mask."""
    what = f"the mask {name} is a {mask.format} file"
    lossy = "its edges hold other numbers than the classes: " if mask.format in ("JPEG", "MPO", "WEBP") else ""
    demand(mask.format == "PNG", what, f"{lossy}save masks as PNG, which does not change labels")
    what = f"the mask {name} has channels of 16 bits ({mask.mode})"
    wide = mask.mode in ("LA", "RGB", "RGBA") and _raw_mode(mask).endswith(";16B")
    demand(mask.mode in MODES and not wide, what, "save the class number of each pixel as one channel")


def _raw_mode(mask: Image.Image) -> str:
    """Pillow's name of the samples in a PNG file, such as L;2 and RGB;16B."""
    return str(mask.tile[0][3])  # type: ignore[attr-defined]


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
        raise UserError(what, "add the color with the number of its class; without palette.txt, gray is a number")
    return numbers[order][position].astype(np.uint16)


def _color_codes(colors: np.ndarray) -> np.ndarray:
    """Colors ... 3 -> ..., one integer for each color."""
    return colors.astype(np.int64) @ np.array([2**16, 2**8, 1])
