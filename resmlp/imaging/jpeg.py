"""Plain JPEGs by simplejpeg, where it is installed: the pixels are Pillow's, and come sooner.

Whatever is doubtful is left to Pillow, which reads it or says what is wrong: rare ways to store colors, damage, and
files that may say how the image is turned.
"""

from typing import BinaryIO

import numpy as np
from PIL import Image

try:
    import simplejpeg
except ImportError:
    simplejpeg = None

START = b"\xff\xd8\xff"
MOST = 2**26  # bytes
TURNED = (b"Exif\0", b"Orientation")  # the second is Adobe's XMP


def glance(file: BinaryIO) -> tuple[bytes, tuple[int, int] | None]:
    """A JPEG's bytes, b"" of another file; and its (width, height) where nothing can turn it and the colors are plain.

    Raises `OSError`.
    """
    start = file.read(len(START))
    if simplejpeg is None or start != START:
        return b"", None
    data = start + file.read(MOST)
    if any(mark in data for mark in TURNED):
        return data, None
    try:
        height, width, colors, _ = simplejpeg.decode_jpeg_header(data)
    except (ValueError, RuntimeError):
        return data, None
    plain = colors in ("YCbCr", "RGB") and height * width <= (Image.MAX_IMAGE_PIXELS or 0)
    return data, (width, height) if plain else None


def unpacked(data: bytes) -> np.ndarray | None:
    """The pixels, uint8 H W 3; None where it cannot say, or should not."""
    if simplejpeg is None or not data or len(data) > MOST:
        return None
    try:
        return simplejpeg.decode_jpeg(data, "RGB")
    except (ValueError, RuntimeError):
        return None
