"""One image file -> RGB pixels, whatever the file holds, or an error that names it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from resmlp.imaging import jpeg
from resmlp.utils.errors import UserError, printable

# A file is read as what its bytes are; GIF is here for those that bear another ending. EPS and the like stay out:
# Pillow would hand them to outside programs.
FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "PPM", "GIF")


class UnreadableImage(UserError):  # noqa: N818  (a user's error, like its parent)
    """The image `name` cannot be decoded, because of `reason`."""

    def __init__(self, name: str, reason: str):
        name = printable(name)
        super().__init__(f"cannot read {name}: {reason}", "replace the file or delete it")
        self.name = name
        self.reason = reason

    def __reduce__(self):
        return type(self), (self.name, self.reason)


Size = tuple[int, int]
"""width, height"""
Box = tuple[int, int, int, int]
"""left, top, right, bottom"""


class Part(NamedTuple):
    """What is wanted of an image of known size."""

    box: Box
    least: Size
    """how many pixels must be left of the box; a JPEG is decoded at 1/2, 1/4 or 1/8 where that leaves so many"""


Choose = Callable[[Size], Part]


def whole(size: Size) -> Part:
    """All of an image, at its size."""
    return Part((0, 0, *size), size)


def decode(name: str, open_file: Callable[[], BinaryIO]) -> Image.Image:
    """The image in the file that `open_file` opens: RGB, upright (EXIF), transparency laid on white.

    Raises `UnreadableImage(name, ...)` for everything else: truncated files, more than twice Pillow's
    `MAX_IMAGE_PIXELS` (179 million pixels), samples of unknown range.
    """
    with _naming(name), open_file() as file, Image.open(file, formats=FORMATS) as image:
        ImageOps.exif_transpose(image, in_place=True)  # this loads it
        return image if _is_plain(image) else to_rgb(image)


def decode_part(name: str, open_file: Callable[[], BinaryIO], choose: Choose) -> np.ndarray:
    """The part that `choose` takes of an image of its size: uint8 h w 3, perhaps read-only, at its scale or less.

    `choose` is called once, before anything is decoded. Where a JPEG is reduced, so is the box, rounded down. Raises
    `UnreadableImage` as `decode` does.
    """
    with ExitStack() as stack:
        with _naming(name):
            file = stack.enter_context(open_file())
            data, size = jpeg.glance(file)
        part = choose(size) if size else None
        if part and _scale(part) == 1 and (pixels := jpeg.unpacked(data)) is not None:
            return _cut(pixels, part.box)
        with _naming(name):
            file.seek(0)
            image = stack.enter_context(Image.open(file, formats=FORMATS))
            as_stored = image.format == "JPEG" and image.getexif().get(ExifTags.Base.Orientation, 1) == 1
            if not as_stored:
                ImageOps.exif_transpose(image, in_place=True)  # this loads it
        part = part or choose(image.size)
        with _naming(name):
            scale = _scale(part) if as_stored else 1
            if as_stored and scale == 1 and image.mode == "RGB" and (pixels := jpeg.unpacked(data)) is not None:
                return _cut(pixels, part.box)
            if scale > 1:  # libjpeg leaves out the finest frequencies
                image.draft(None, (image.width // scale, image.height // scale))
            image.load()
            rgb, box = image if _is_plain(image) else to_rgb(image), _reduced(part.box, scale)
            return np.asarray(rgb if box == (0, 0, *rgb.size) else rgb.crop(box))


def _cut(pixels: np.ndarray, box: Box) -> np.ndarray:
    left, top, right, bottom = box
    return pixels[top:bottom, left:right]


@contextmanager
def _naming(name: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # Pillow's decoders raise nearly anything on broken bytes
        raise UnreadableImage(name, reason(error)) from error


def _is_plain(image: Image.Image) -> bool:
    """RGB without transparency: to convert it would only copy it."""
    return image.mode == "RGB" and not image.has_transparency_data


def _scale(part: Part) -> int:
    """By how much libjpeg may reduce an image, so that enough pixels are left: 1, 2, 4 or 8."""
    left, top, right, bottom = part.box
    most = min((right - left) // part.least[0], (bottom - top) // part.least[1])
    return next((scale for scale in (8, 4, 2) if scale <= most), 1)


def _reduced(box: Box, scale: int) -> Box:
    left, top, right, bottom = box
    x, y = left // scale, top // scale
    return x, y, x + (right - left) // scale, y + (bottom - top) // scale


def to_rgb(image: Image.Image) -> Image.Image:
    """An image of any Pillow mode -> RGB, 8 bits a channel."""
    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        image = _gray_8bit(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def _gray_8bit(image: Image.Image) -> Image.Image:
    """16-bit gray -> L. Pillow's own conversion clips at 255, which turns nearly all of it white."""
    values = np.asarray(image)
    if image.mode == "F" or values.min() < 0 or values.max() > 65535:
        raise ValueError("32-bit samples, whose range is not known")
    return Image.fromarray((values / 257).round().astype(np.uint8))  # 65535 / 255 = 257


def reason(error: Exception) -> str:
    """What Pillow says of a file that it cannot decode, in one line."""
    if isinstance(error, UnidentifiedImageError):
        return "not an image, or of a format we do not read"
    return " ".join(str(error).split())[:200] or type(error).__name__
