"""One picture file -> RGB pixels, whatever the file holds, or an error that names it."""

from collections.abc import Callable
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from resmlp.errors import UserError, printable

# A file is read as what its bytes are; GIF is here for those that bear another ending. EPS and the like stay out:
# Pillow would hand them to outside programs.
FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "PPM", "GIF")


class UnreadableImage(UserError):  # noqa: N818  (a user's error, like its parent)
    """The picture `name` cannot be decoded, because of `reason`."""

    def __init__(self, name: str, reason: str):
        name = printable(name)
        super().__init__(f"cannot read {name}: {reason}", "replace the file or delete it")
        self.name = name
        self.reason = reason

    def __reduce__(self):
        return type(self), (self.name, self.reason)


def decode(name: str, open_file: Callable[[], BinaryIO]) -> Image.Image:
    """The picture in the file that `open_file` opens: RGB, upright (EXIF), transparency laid on white.

    Raises `UnreadableImage(name, ...)` for everything else: truncated files, more than twice Pillow's
    `MAX_IMAGE_PIXELS` (179 million pixels), samples of unknown range.
    """
    try:
        with open_file() as file, Image.open(file, formats=FORMATS) as image:
            ImageOps.exif_transpose(image, in_place=True)
            return to_rgb(image)
    except Exception as error:  # Pillow's decoders raise nearly anything on broken bytes
        raise UnreadableImage(name, reason(error)) from error


def to_rgb(image: Image.Image) -> Image.Image:
    """A picture of any Pillow mode -> RGB, 8 bits a channel."""
    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        image = _grey_8bit(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def _grey_8bit(image: Image.Image) -> Image.Image:
    """16-bit grey -> L. Pillow's own conversion clips at 255, which turns nearly all of it white."""
    values = np.asarray(image)
    if image.mode == "F" or values.min() < 0 or values.max() > 65535:
        raise ValueError("32-bit samples, whose range is not known")
    return Image.fromarray((values / 257).round().astype(np.uint8))  # 65535 / 255 = 257


def reason(error: Exception) -> str:
    """What Pillow says of a file that it cannot decode, in one line."""
    if isinstance(error, UnidentifiedImageError):
        return "not a picture, or of a format we do not read"
    return " ".join(str(error).split())[:200] or type(error).__name__
