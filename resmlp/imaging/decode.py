"""Decode an image file of any supported format to RGB pixels, or raise an error that names the file."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from resmlp.imaging import jpeg
from resmlp.utils.errors import UserError, printable

# The bytes of a file decide its format, not its name.
# EPS and similar formats are excluded: Pillow would pass them to external programs.
FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "PPM", "GIF", "AVIF", "JPEG2000")


class UnreadableImage(UserError):  # noqa: N818  (a user's error, like its parent)
    """The image `name` cannot be decoded, because of `reason`."""

    def __init__(self, name: str, reason: str):
        name = printable(name)
        super().__init__(f"cannot read {name}: {reason}", "replace the file or delete it")
        self.name = name
        self.reason = reason

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        return type(self), (self.name, self.reason)


Size = tuple[int, int]
"""width, height"""
Box = tuple[int, int, int, int]
"""left, top, right, bottom"""


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


def decode(name: str, open_file: Callable[[], BinaryIO]) -> Image.Image:
    """Decode the file that `open_file` opens: RGB, upright (EXIF), transparent pixels blended with white.

    Raises `UnreadableImage(name, ...)` if that fails, for instance for a truncated file, for more than twice Pillow's
    `MAX_IMAGE_PIXELS` (179 million pixels), or for samples of unknown range.
    """
    with _unreadable_on_error(name), open_file() as file, Image.open(file, formats=FORMATS) as image:
        ImageOps.exif_transpose(image, in_place=True)  # this loads the pixels
        return image if _is_opaque_rgb(image) else to_rgb(image)


def decode_region(name: str, open_file: Callable[[], BinaryIO], choose_region: ChooseRegion) -> np.ndarray:
    """Decode the region that `choose_region` selects, at full or reduced resolution: uint8 h w 3, perhaps read-only.

    `choose_region` is called once, before any pixel is decoded. If a JPEG is decoded at reduced resolution, the box is
    reduced by the same factor, rounded down. Raises `UnreadableImage` as `decode` does.
    """
    with ExitStack() as stack:
        with _unreadable_on_error(name):
            file = stack.enter_context(open_file())
            data, size = jpeg.probe(file)
        region = choose_region(size) if size else None
        if region and _reduction(region) == 1 and (pixels := jpeg.decode_rgb(data)) is not None:
            return _crop(pixels, region.box)
        with _unreadable_on_error(name):
            file.seek(0)
            image = stack.enter_context(Image.open(file, formats=FORMATS))
            upright_jpeg = image.format == "JPEG" and image.getexif().get(ExifTags.Base.Orientation, 1) == 1
            if not upright_jpeg:
                ImageOps.exif_transpose(image, in_place=True)  # this loads the pixels
        region = region or choose_region(image.size)
        with _unreadable_on_error(name):
            factor = _reduction(region) if upright_jpeg else 1
            if upright_jpeg and factor == 1 and image.mode == "RGB" and (pixels := jpeg.decode_rgb(data)) is not None:
                return _crop(pixels, region.box)
            if factor > 1:  # libjpeg skips the highest frequencies
                image.draft(None, (image.width // factor, image.height // factor))
            image.load()
            rgb, box = image if _is_opaque_rgb(image) else to_rgb(image), _reduce_box(region.box, factor)
            return np.asarray(rgb if box == (0, 0, *rgb.size) else rgb.crop(box))


def _crop(pixels: np.ndarray, box: Box) -> np.ndarray:
    left, top, right, bottom = box
    return pixels[top:bottom, left:right]


@contextmanager
def _unreadable_on_error(name: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # Pillow's decoders raise many kinds of exceptions for damaged files
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


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert an image of any Pillow mode to RGB with 8 bits per channel; transparent pixels are blended with white."""
    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        image = _gray_8bit(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def _gray_8bit(image: Image.Image) -> Image.Image:
    """Scale 16-bit gray to 8 bits (mode L). Pillow's own conversion clips at 255 and makes most pixels white."""
    values = np.asarray(image)
    if image.mode == "F" or values.min() < 0 or values.max() > 65535:
        raise ValueError("32-bit samples of unknown range")
    return Image.fromarray((values / 257).round().astype(np.uint8))  # 65535 / 255 = 257


def describe_error(error: Exception) -> str:
    """Pillow's message for a file that it cannot decode, as one line."""
    if isinstance(error, UnidentifiedImageError):
        return "not an image, or an unsupported format"
    return " ".join(str(error).split())[:200] or type(error).__name__
