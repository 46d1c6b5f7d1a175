"""The bytes of an image as a shard holds them: those of its file, or those of a smaller image."""

import io
from typing import NamedTuple

from PIL import ExifTags, Image

from resmlp.config.preprocessing import Decoding
from resmlp.data.checking.headers import read_header
from resmlp.data.masks.maskset import FilePair
from resmlp.imaging import jpeg
from resmlp.imaging.archive_limits import MAX_MEMBER
from resmlp.imaging.bit_depth import is_deep
from resmlp.imaging.decode import UnreadableImage, to_rgb
from resmlp.imaging.file_types import EXTENSIONS
from resmlp.imaging.formats import open_image
from resmlp.imaging.image_file import BufferedMember, Encoded, ImageSource, Pixels
from resmlp.imaging.limits import FEW_BYTES, MAX_ASPECT
from resmlp.utils.errors import UserError, is_out_of_memory

QUALITY = 95
ORIENTATION = ExifTags.Base.Orientation


class EncodedImage(NamedTuple):
    """An image file."""

    data: bytes
    ending: str
    """.jpg, by its format"""
    resized: bool = False


class CannotReadError(Exception):
    """An image cannot be read; the message says why."""


def encode(image: ImageSource, path: str, max_side: int | None) -> EncodedImage:
    """The file of an image with this path; with `max_side` at most so long. Raises `CannotReadError`."""
    if isinstance(image, Pixels):
        encoded = EncodedImage(_saved(Image.fromarray(image.array), "PNG"), ".png")
        return encoded if max_side is None or max(image.array.shape[:2]) <= max_side else _smaller(encoded, max_side)
    data = _read(image)
    if size := _whole_jpeg(data):
        kind = "JPEG"
    else:
        header = read_header(BufferedMember("", path, data))
        if header.error:
            raise CannotReadError(header.error)
        kind, size = header.format, (header.width, header.height)
    suffix = "." + path.rpartition(".")[2].lower()
    endings = EXTENSIONS.get(kind, (suffix,))
    encoded = EncodedImage(data, suffix if suffix in endings else endings[0])
    return encoded if max_side is None or max(size) <= max_side else _smaller(encoded, max_side)


def read_mask(pair: FilePair) -> bytes:
    """The bytes of a mask, which has the size of its image. Raises `CannotReadError`, and `UserError` as training does.

    An EXIF orientation may be applied or not: training decides.
    """
    try:
        pair.check()
    except UnreadableImage:
        raise
    except UserError:
        pair._replace(decoding=Decoding(exif="ignore")).check()
    return _read(pair.mask)


def _whole_jpeg(data: bytes) -> tuple[int, int] | None:
    """(width, height) of a plain JPEG with its end marker; None if Pillow has to look."""
    if not data.endswith(jpeg.END):
        return None
    _, size = jpeg.probe(io.BytesIO(data))
    few_bytes = size is not None and len(data) < size[0] * size[1] * FEW_BYTES
    odd = size is not None and max(size) > MAX_ASPECT * min(size)
    return None if few_bytes or odd else size


def _read(image: ImageSource) -> bytes:
    if not isinstance(image, Encoded):
        raise CannotReadError("not an image file")
    try:
        with image.open() as file:
            data = file.read(MAX_MEMBER + 1)
    except OSError as error:
        raise CannotReadError(error.strerror or str(error)) from None
    if len(data) > MAX_MEMBER:
        raise CannotReadError(f"it has more than {MAX_MEMBER:,} bytes")
    return data


def _smaller(encoded: EncodedImage, max_side: int) -> EncodedImage:
    """The image with a longer side of `max_side` pixels; one of more than 8 bits per channel as it is.

    The orientation stays what it is in the file. Raises `CannotReadError`.
    """
    try:
        with open_image(io.BytesIO(encoded.data)) as image:
            if is_deep(image):
                return encoded
            orientation = image.getexif().get(ORIENTATION)
            image.thumbnail((max_side, max_side), Image.Resampling.BICUBIC, reducing_gap=2.0)
            pixels = image if image.mode == "L" and not image.has_transparency_data else to_rgb(image)
            exif = Image.Exif()
            if orientation in range(2, 9):
                exif[ORIENTATION] = orientation
            return EncodedImage(_saved(pixels, "JPEG", quality=QUALITY, exif=exif), ".jpg", resized=True)
    except Exception as error:  # Pillow's decoders raise many kinds of exceptions for damaged files
        if is_out_of_memory(error):
            raise
        raise CannotReadError(" ".join(str(error).split())[:200] or type(error).__name__) from error


def _saved(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()
