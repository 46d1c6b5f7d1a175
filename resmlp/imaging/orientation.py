"""The EXIF orientation of an image file: apply it, or read the pixels as they are stored."""

from PIL import ExifTags, Image, ImageOps

from resmlp.config.preprocessing import Exif

AS_STORED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""from an orientation to the inverse of what turns such an image upright"""
SWAPPED = (5, 6, 7, 8)
"""orientations that swap width and height"""


def orientation(image: Image.Image) -> int:
    """The EXIF orientation of an opened image, 1 (upright) to 8, as far as its header contains it.

    In a PNG, EXIF may come after the pixels; Pillow would decode all of them to find it.
    """
    if image.format == "PNG" and "exif" not in image.info:
        return 1
    value = image.getexif().get(ExifTags.Base.Orientation, 1)
    return value if value in AS_STORED else 1


def orient(image: Image.Image, exif: Exif) -> None:
    """Load the pixels of an opened image, and turn them upright if `exif` is apply. Pillow has turned a TIFF itself."""
    if exif == "apply":
        ImageOps.exif_transpose(image, in_place=True)
        return
    turned = orientation(image) if image.format == "TIFF" else 1
    image.load()
    if turned in AS_STORED:
        image.im = image.im.transpose(AS_STORED[turned])
        image._size = image.im.size
