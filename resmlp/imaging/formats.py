"""Open an image file of a supported format; HEIC by pillow-heif, which is an extra."""

from functools import cache
from importlib.util import find_spec
from typing import BinaryIO

from PIL import Image

from resmlp.imaging.file_types import HEAD, is_heif
from resmlp.utils.errors import UserError, install_hint

# The bytes of a file decide its format, not its name.
# EPS and similar formats are excluded: Pillow would pass them to external programs.
FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "PPM", "GIF", "AVIF", "JPEG2000")
HEIF, PACKAGE = "HEIF", "pillow_heif"


class MissingPackage(UserError):  # noqa: N818  (a user's error, like its parent)
    """The format of an image needs a package that is not installed; no other image of this format can be read."""

    def __init__(self) -> None:
        super().__init__("HEIC images need pillow-heif, which is not installed", install_hint("heic"))

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return type(self), ()


def open_image(file: BinaryIO) -> Image.Image:
    """The image in a file, without its pixels. Raises what Pillow raises, and `MissingPackage`."""
    place = file.tell()
    head = file.read(HEAD)
    file.seek(place)
    if not is_heif(head):
        return Image.open(file, formats=FORMATS)
    _register_heif()
    return Image.open(file, formats=(HEIF,))


@cache
def _register_heif() -> None:
    """Add pillow-heif to the formats of Pillow."""
    if find_spec(PACKAGE) is None:
        raise MissingPackage
    from pillow_heif import register_heif_opener

    register_heif_opener()
