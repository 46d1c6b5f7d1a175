"""Decode an image file of any supported format to RGB pixels, or raise an error that names the file."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError

from resmlp.config.preprocessing import Decoding, ValueRange
from resmlp.imaging import jpeg, libtiff
from resmlp.imaging.bit_depth import is_deep, to_8_bits
from resmlp.imaging.crop import Box, Size
from resmlp.imaging.formats import open_image
from resmlp.imaging.limits import check_image, check_shape
from resmlp.imaging.orientation import orient, orientation
from resmlp.utils.errors import UserError, is_out_of_memory, printable

libtiff.silence()

DEFAULT = Decoding()


class UnreadableImage(UserError):  # noqa: N818  (a user's error, like its parent)
    """The image `name` cannot be decoded, because of `reason`."""

    def __init__(self, name: str, reason: str):
        name = printable(name)
        super().__init__(f"cannot read {name}: {reason}", "replace the file or delete it")
        self.name = name
        self.reason = reason

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        return type(self), (self.name, self.reason)


class UnreadableArchive(UnreadableImage):
    """The archive that an image is in cannot be read, and so none of its images.

    `name` has the reason as well: it is what many images have in common, and is reported once.
    """

    def __init__(self, archive: str, reason: str):
        super().__init__(archive, reason)
        self.hint, self.archive = "restore it, or check its server", archive
        self.args = (f"{self.what} ({self.hint})",)
        self.name = f"{self.name} ({printable(reason)})"

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        return type(self), (self.archive, self.reason)


class Region(NamedTuple):
    """The part of an image to decode."""

    box: Box
    min_size: Size
    """the box must keep at least this (width, height): a JPEG is decoded at 1/2, 1/4 or 1/8 where that is enough"""


ChooseRegion = Callable[[Size], Region]
"""from an image's (width, height) to the region to decode"""


def full_region(size: Size) -> Region:
    """The whole image of this `size`, at full resolution."""
    return Region((0, 0, *size), size)


def decode(name: str, open_file: Callable[[], BinaryIO], decoding: Decoding = DEFAULT) -> Image.Image:
    """Decode the file that `open_file` opens: RGB, upright by EXIF, transparent pixels blended with white.

    Raises `UnreadableImage(name, ...)` if that fails, for instance for a truncated file, for a shape or a number of
    pixels beyond `resmlp.imaging.limits`, or for samples of unknown range. Raises `MissingPackage` for HEIC without
    pillow-heif.
    """
    with _unreadable_on_error(name), open_file() as file, open_image(file) as image:
        check_image(image, _file_size(file))
        orient(image, decoding.exif)  # this loads the pixels
        return image if _is_opaque_rgb(image) else to_rgb(image, decoding.value_range)


def decode_region(
    name: str, open_file: Callable[[], BinaryIO], choose_region: ChooseRegion, decoding: Decoding = DEFAULT
) -> np.ndarray:
    """Decode the region that `choose_region` selects, at full or reduced resolution: uint8 h w 3, perhaps read-only.

    `choose_region` is called once, before any pixel is decoded. If a JPEG is decoded at reduced resolution, the box is
    reduced by the same factor, rounded down. Raises `UnreadableImage` as `decode` does.
    """
    with ExitStack() as stack:
        with _unreadable_on_error(name):
            file = stack.enter_context(open_file())
            data, size = jpeg.probe(file)
            if size:
                check_shape(size)
        region = choose_region(size) if size else None
        if region and _reduction(region) == 1 and (pixels := _decode_fast(data, region.box)) is not None:
            return pixels
        with _unreadable_on_error(name):
            file.seek(0)
            image = stack.enter_context(open_image(file))
            check_image(image, _file_size(file))
            upright_jpeg = image.format == "JPEG" and (decoding.exif == "ignore" or orientation(image) == 1)
            if not upright_jpeg:
                orient(image, decoding.exif)  # this loads the pixels
        region = region or choose_region(image.size)
        with _unreadable_on_error(name):
            factor = _reduction(region) if upright_jpeg else 1
            plain = upright_jpeg and factor == 1 and image.mode == "RGB"
            if plain and (pixels := _decode_fast(data, region.box)) is not None:
                return pixels
            if factor > 1:  # libjpeg skips the highest frequencies
                image.draft(None, (image.width // factor, image.height // factor))
            image.load()
            rgb = image if _is_opaque_rgb(image) else to_rgb(image, decoding.value_range)
            box = _reduce_box(region.box, factor)
            return np.asarray(rgb if box == (0, 0, *rgb.size) else rgb.crop(box))


def _file_size(file: BinaryIO) -> int:
    """The size of an open file in bytes."""
    place = file.tell()
    try:
        return file.seek(0, os.SEEK_END)
    finally:
        file.seek(place)


def _decode_fast(data: bytes, box: Box) -> np.ndarray | None:
    """The box of the JPEG file with these bytes; None if Pillow should decode it."""
    left, top, right, bottom = box
    pixels = jpeg.decode_rgb(data, rows=bottom)
    return None if pixels is None else pixels[top:bottom, left:right]


@contextmanager
def _unreadable_on_error(name: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # Pillow's decoders raise many kinds of exceptions for damaged files
        if is_out_of_memory(error) or isinstance(error, UserError):  # those of a missing package, or of an archive
            raise
        raise UnreadableImage(name, describe_error(error)) from error


def _is_opaque_rgb(image: Image.Image) -> bool:
    """Whether the image is RGB without transparency, so that `to_rgb` would only copy it."""
    return image.mode == "RGB" and not image.has_transparency_data


def _reduction(region: Region) -> int:
    """The largest factor, 1, 2, 4 or 8, by which libjpeg may reduce the image so that `min_size` pixels remain."""
    left, top, right, bottom = region.box
    limit = min((right - left) // region.min_size[0], (bottom - top) // region.min_size[1])
    return next((factor for factor in (8, 4, 2) if factor <= limit), 1)


def _reduce_box(box: Box, factor: int) -> Box:
    left, top, right, bottom = box
    x, y = left // factor, top // factor
    return x, y, x + (right - left) // factor, y + (bottom - top) // factor


def to_rgb(image: Image.Image, value_range: ValueRange | None = None) -> Image.Image:
    """Convert an image of any Pillow mode to RGB with 8 bits per channel; transparent pixels are blended with white.

    Values above 8 bits are scaled from `value_range`, by default that of the file format.
    """
    if is_deep(image):
        image = to_8_bits(image, value_range)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def describe_error(error: Exception) -> str:
    """Pillow's message for a file that it cannot decode, as one line."""
    if isinstance(error, UnidentifiedImageError):
        return "not an image, or an unsupported format"
    return " ".join(str(error).split())[:200] or type(error).__name__
