"""The largest images that are decoded: a small file can claim more pixels than the memory holds."""

from PIL import Image

MAX_ASPECT = 10_000
"""longer side / shorter side"""
MAX_SMALL = 2**30
"""bytes that decoding may take, of a file that is small for its pixels"""
FEW_BYTES = 1 / 64
"""bytes of a file per pixel below which it is small; photographs have more than 1/16"""

GRAY, COLOR, CONVERTED, WAVELETS = 5, 8, 16, 24
"""bytes of memory per pixel: the decoded image and its RGB copy; an upright RGB copy; several RGBA copies; JPEG 2000,
whose decoder holds each channel in 32 bits beside these"""


def check_image(image: Image.Image, size: int) -> None:
    """Raise ValueError for an opened image, of a file of `size` bytes, that should not be decoded.

    Pillow itself refuses more than twice its `MAX_IMAGE_PIXELS`, 179 million pixels, when it opens a file.
    """
    check_shape(image.size)
    pixels = image.width * image.height
    if size < pixels * FEW_BYTES and pixels * _memory(image) > MAX_SMALL:
        raise ValueError(f"{image.width} x {image.height} pixels in a file of only {size:,} bytes")


def check_shape(size: tuple[int, int]) -> None:
    """Raise ValueError for a (width, height) that no network can see anything of."""
    if max(size) > MAX_ASPECT * min(size):
        raise ValueError("{} x {} pixels, more than {:,} times as long as wide".format(*size, MAX_ASPECT))


def _memory(image: Image.Image) -> int:
    """Bytes per pixel that decoding and converting to RGB take."""
    if image.format == "JPEG2000":
        return WAVELETS
    if image.mode not in ("1", "L", "P", "RGB") or image.has_transparency_data:
        return CONVERTED
    return COLOR if image.mode == "RGB" else GRAY
