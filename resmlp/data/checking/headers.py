"""What the first and the last bytes of an image file tell, without decoding it."""

import hashlib
import io
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO, NamedTuple

from PIL import ExifTags, Image

from resmlp.imaging.decode import FORMATS, UnreadableImage
from resmlp.imaging.image_file import File, BufferedMember, ImageSource, Member

TAIL = 64  # bytes at a file's end: there end marks are sought, and files of one size mostly differ

STARTS = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"II*\0", b"MM\0*")

ENDINGS_OF = {
    "JPEG": (".jpg", ".jpeg"),
    "MPO": (".jpg", ".jpeg"),  # several JPEGs in one file; the first is read
    "PNG": (".png",),
    "BMP": (".bmp",),
    "WEBP": (".webp",),
    "TIFF": (".tif", ".tiff"),
    "PPM": (".ppm", ".pgm"),
    "GIF": (),
}


class Look(NamedTuple):
    """One image file, as its header describes it."""

    unreadable: str = ""
    """why it cannot be read; the rest is then unknown"""
    format: str = ""
    """Pillow's name of the format"""
    mode: str = ""
    """Pillow's name of the channels"""
    width: int = 0
    """pixels, of the upright image"""
    height: int = 0
    turned: bool = False
    """its EXIF says that it lies on its side or its head"""
    alpha: bool = False
    """some of it is transparent"""
    bytes: int = 0
    tail: int = 0
    """checksum of the last bytes"""


def look(image: ImageSource, decode: bool = False) -> Look:
    """What the image's header says; with `decode` every pixel is read as well.

    Every pixel is read too where the end mark of the format is missing, so that a file cut short is found either way
    and one with something behind its end is not accused.
    """
    try:
        with opened(image) as (file, size):
            if size == 0:
                return Look("it is empty")
            file.seek(max(size - TAIL, 0))
            tail = file.read(TAIL)
            file.seek(0)
            head = file.read(12)
            file.seek(0)
            with Image.open(file, formats=FORMATS) as opened_:
                seen = _describe(opened_)._replace(bytes=size, tail=zlib.crc32(tail))
        if decode or seen.mode == "F" or _looks_cut(seen.format, head, tail, size):
            image.read()
        return seen
    except UnreadableImage as error:
        return Look(error.reason)
    except Image.UnidentifiedImageError:
        return Look("not an image, or an unsupported format")
    except Exception as error:  # Pillow's parsers raise nearly anything on broken bytes
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        return Look(" ".join(why.split())[:200] or type(error).__name__)


def digest(image: ImageSource) -> bytes:
    """A checksum of the whole file, 16 bytes; none where it cannot be read."""
    try:
        with opened(image) as (file, _):
            return hashlib.file_digest(file, partial(hashlib.blake2b, digest_size=16)).digest()  # type: ignore
    except OSError:
        return b""


def starts_as_image(path: Path) -> bool:
    """Whether a file, whatever its name, begins as images do; False too where it cannot be read."""
    try:
        with opened(File(str(path))) as (file, _):
            head = file.read(12)
    except OSError:
        return False
    return head.startswith(STARTS) or (head[:4], head[8:]) == (b"RIFF", b"WEBP")


@contextmanager
def opened(image: ImageSource) -> Iterator[tuple[BinaryIO, int]]:
    """The file of the image and its bytes' number. What is no regular file, a pipe say, is an `OSError`, unopened."""
    if isinstance(image, File):
        found = Path(image.name).stat()
        if not stat.S_ISREG(found.st_mode):
            raise OSError("it is no regular file")
        with Path(image.name).open("rb") as file:
            yield file, found.st_size
    elif isinstance(image, Member):
        yield image._open(), image.size
    elif isinstance(image, BufferedMember):
        yield io.BytesIO(image.data), len(image.data)
    else:
        raise OSError("it is no file")


def _describe(image: Image.Image) -> Look:
    width, height = image.size
    # Pillow looks for a PNG's EXIF behind its pixels, which it would have to decode
    known = image.format != "PNG" or "exif" in image.info
    orientation = image.getexif().get(ExifTags.Base.Orientation, 1) if known else 1
    if orientation in (5, 6, 7, 8):
        width, height = height, width
    turned = orientation in range(2, 9)
    return Look("", image.format or "", image.mode, width, height, turned, image.has_transparency_data)


def _looks_cut(kind: str, head: bytes, tail: bytes, size: int) -> bool:
    """Whether the file ends before its format says so. TIFF and PPM have no mark at the end."""
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
