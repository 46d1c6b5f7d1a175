"""Fast decoding of ordinary JPEG files with simplejpeg, if it is installed; the pixels are the same as Pillow's.

Pillow decodes all other files, or reports what is wrong with them: unusual color formats, damaged files, and files
with a possible orientation tag. Of a baseline file, the rows below the wanted ones are not decoded.
"""

from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import Image

try:
    import simplejpeg
except ImportError:
    simplejpeg = None

START = b"\xff\xd8\xff"
END = b"\xff\xd9"
MAX_BYTES = 2**26
ORIENTATION_MARKS = (b"Exif\0", b"Orientation")  # the second one is Adobe's XMP
BASELINE, FIRST_RESTART, LAST_RESTART, SCAN = 0xC0, 0xD0, 0xD7, 0xDA  # the second bytes of markers
MARGIN = 4  # rows below the wanted ones, which the interpolation of the color may read


class Header(NamedTuple):
    """Positions in the bytes of a JPEG file."""

    frame: int
    """the frame header, which has the size; 0 if the file is not baseline with all colors in one scan"""
    scan: int
    """the first scan"""


def probe(file: BinaryIO) -> tuple[bytes, tuple[int, int] | None]:
    """Read a JPEG file: its bytes, b"" for another format; and its (width, height), None if Pillow should decode it.

    Raises `OSError`.
    """
    start = file.read(len(START))
    if simplejpeg is None or start != START:
        return b"", None
    data = start + file.read(MAX_BYTES)
    header = read_header(data)
    if header is None or any(data.find(mark, 0, header.scan) >= 0 for mark in ORIENTATION_MARKS):
        return data, None
    try:
        height, width, colors, _ = simplejpeg.decode_jpeg_header(data)
    except (ValueError, RuntimeError):
        return data, None
    plain = colors in ("YCbCr", "RGB") and height * width <= (Image.MAX_IMAGE_PIXELS or 0)
    return data, (width, height) if plain else None


def decode_rgb(data: bytes, rows: int) -> np.ndarray | None:
    """Decode at least the first `rows` of a JPEG file to uint8 H W 3; None if simplejpeg cannot decode them."""
    if simplejpeg is None or not data or len(data) > MAX_BYTES:
        return None
    short = shortened(data, rows)
    try:  # strict: a warning is an error; a shortened file always has one, about the bytes that are left
        return simplejpeg.decode_jpeg(short or data, "RGB", strict=short is None)
    except (ValueError, RuntimeError):
        return None


def read_header(data: bytes) -> Header | None:
    """Find the headers in the bytes of a JPEG file; None if they are damaged or unusual."""
    place, frame, colors = 2, 0, 0
    while place + 10 < len(data) and data[place] == 0xFF:
        kind = data[place + 1]
        if not (BASELINE <= kind < FIRST_RESTART or SCAN <= kind < 0xFF):  # a marker without a length, or a filler
            return None
        if kind == BASELINE:
            frame, colors = place, data[place + 9]
        if kind == SCAN:
            return Header(frame if data[place + 4] == colors else 0, place)
        place += 2 + int.from_bytes(data[place + 2 : place + 4])
    return None


def shortened(data: bytes, rows: int) -> bytearray | None:
    """The file with a smaller height in its header, so that a decoder stops below `rows`; None if that is not safe.

    Whether a file can be read must not depend on the rows: a truncated file is not shortened, nor one with other
    markers between the pixels, which are errors to a decoder that arrives there.
    """
    header = read_header(data)
    if header is None or not header.frame or not data.endswith(END):
        return None
    height = slice(header.frame + 5, header.frame + 7)
    rows += MARGIN
    if rows >= int.from_bytes(data[height]) or not _is_plain_scan(data, header.scan):
        return None
    short = bytearray(data)
    short[height] = rows.to_bytes(2)
    return short


def _is_plain_scan(data: bytes, scan: int) -> bool:
    """Whether the rest of a file is a scan of pixels: its only markers are restarts, but for the last."""
    pixels = np.frombuffer(data, np.uint8)[scan + 2 : -len(END)]
    after = pixels[np.flatnonzero(pixels[:-1] == 0xFF) + 1]  # 0: the byte 255 of the pixels
    return bool(((after == 0) | (after >= FIRST_RESTART) & (after <= LAST_RESTART)).all() and pixels[-1] != 0xFF)
