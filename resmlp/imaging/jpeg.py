"""Fast decoding of ordinary JPEG files with simplejpeg, if it is installed; the pixels are the same as Pillow's.

Pillow decodes all other files, or reports what is wrong with them: unusual color formats, damaged files, and files
with a possible orientation tag.
"""

from typing import BinaryIO

import numpy as np
from PIL import Image

try:
    import simplejpeg
except ImportError:
    simplejpeg = None

START = b"\xff\xd8\xff"
MAX_BYTES = 2**26
ORIENTATION_MARKS = (b"Exif\0", b"Orientation")  # the second one is Adobe's XMP


def probe(file: BinaryIO) -> tuple[bytes, tuple[int, int] | None]:
    """Read a JPEG file: its bytes, b"" for another format; and its (width, height), None if Pillow should decode it.

    Raises `OSError`.
    """
    start = file.read(len(START))
    if simplejpeg is None or start != START:
        return b"", None
    data = start + file.read(MAX_BYTES)
    if any(mark in data for mark in ORIENTATION_MARKS):
        return data, None
    try:
        height, width, colors, _ = simplejpeg.decode_jpeg_header(data)
    except (ValueError, RuntimeError):
        return data, None
    plain = colors in ("YCbCr", "RGB") and height * width <= (Image.MAX_IMAGE_PIXELS or 0)
    return data, (width, height) if plain else None


def decode_rgb(data: bytes) -> np.ndarray | None:
    """Decode the bytes of a JPEG file to uint8 H W 3; None if simplejpeg cannot decode them."""
    if simplejpeg is None or not data or len(data) > MAX_BYTES:
        return None
    try:
        return simplejpeg.decode_jpeg(data, "RGB")
    except (ValueError, RuntimeError):
        return None
