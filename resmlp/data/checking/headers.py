"""The header and the end of an image file, read without decoding the pixels."""

import hashlib
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import BinaryIO, NamedTuple

from PIL import ExifTags, Image

from resmlp.imaging import formats
from resmlp.imaging.decode import UnreadableImage, describe_error
from resmlp.imaging.image_file import Encoded, ImageSource
from resmlp.imaging.limits import check_image

TAIL = 64  # bytes at the end of a file: they contain the end marker, and mostly differ in files of the same size


class Header(NamedTuple):
    """The properties of one image file."""

    error: str = ""
    """why it cannot be read; then the other fields are unknown"""
    format: str = ""
    """Pillow's name of the format"""
    mode: str = ""
    """Pillow's name of the channels"""
    width: int = 0
    """pixels of the upright image"""
    height: int = 0
    rotated: bool = False
    """its EXIF orientation rotates or mirrors it"""
    transparent: bool = False
    """it has transparency data"""
    bytes: int = 0
    tail: int = 0
    """checksum of the last bytes"""


def read_header(image: ImageSource, decode: bool = False) -> Header:
    """Read an image's header; with `decode` also every pixel.

    Also decodes every pixel if the format's end marker is missing. So a truncated file is always found, and a file with
    other data after its end is not reported.
    """
    try:
        with open_image(image) as (file, size):
            if size == 0:
                return Header("the file is empty")
            file.seek(max(size - TAIL, 0))
            tail = file.read(TAIL)
            file.seek(0)
            head = file.read(12)
            file.seek(0)
            with formats.open_image(file) as opened:
                check_image(opened, size)
                header = _describe(opened)._replace(bytes=size, tail=zlib.crc32(tail))
        if decode or header.mode in ("F", "I") or _may_be_truncated(header.format, head, tail, size):
            image.read()
        return header
    except UnreadableImage as error:
        return Header(error.reason)
    except Image.UnidentifiedImageError as error:
        return Header(describe_error(error))
    except Exception as error:  # Pillow's parsers raise many kinds of exceptions for damaged files
        message = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        return Header(" ".join(message.split())[:200] or type(error).__name__)


def file_digest(image: ImageSource) -> bytes:
    """A checksum of the whole file, 16 bytes; empty if it cannot be read."""
    try:
        with open_image(image) as (file, _):
            return hashlib.file_digest(file, partial(hashlib.blake2b, digest_size=16)).digest()  # type: ignore
    except (OSError, UnreadableImage):
        return b""


@contextmanager
def open_image(image: ImageSource) -> Iterator[tuple[BinaryIO, int]]:
    """The file of an image and its number of bytes; raises `OSError` for a pipe or another irregular file."""
    if not isinstance(image, Encoded):
        raise OSError("not a file")
    with image.open() as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        yield file, size


def _describe(image: Image.Image) -> Header:
    width, height = image.size
    # Pillow would decode all pixels of a PNG to search for EXIF data after them
    has_exif = image.format != "PNG" or "exif" in image.info
    orientation = image.getexif().get(ExifTags.Base.Orientation, 1) if has_exif else 1
    if orientation in (5, 6, 7, 8):
        width, height = height, width
    rotated = orientation in range(2, 9)
    return Header("", image.format or "", image.mode, width, height, rotated, image.has_transparency_data)


def _may_be_truncated(kind: str, head: bytes, tail: bytes, size: int) -> bool:
    """Whether the end marker or the declared length is missing. TIFF and PPM have neither."""
    match kind:
        case "JPEG" | "MPO":
            return b"\xff\xd9" not in tail  # end of image
        case "PNG":
            return b"IEND" not in tail
        case "GIF":
            return not tail.endswith(b";")
        case "WEBP":
            return size < 8 + int.from_bytes(head[4:8], "little")
        case "BMP":
            return size < int.from_bytes(head[2:6], "little")
    return False
