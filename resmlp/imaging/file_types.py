"""Which files are images: by the extension, else by the first bytes. Loads no image library."""

import re
from pathlib import Path

from resmlp.utils.files import exists

EXTENSIONS = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "MPO": (".jpg", ".jpeg"),  # several JPEG images in one file; the first one is read
    "PNG": (".png",),
    "BMP": (".bmp",),
    "WEBP": (".webp",),
    "TIFF": (".tif", ".tiff"),
    "PPM": (".ppm", ".pgm"),
    "GIF": (".gif",),
    "AVIF": (".avif",),
    "JPEG2000": (".jp2", ".j2k", ".jpx"),
    "HEIF": (".heic", ".heif"),  # by an extra
}
"""from Pillow's name of a format to its extensions"""
ENDINGS = tuple(dict.fromkeys(ending for endings in EXTENSIONS.values() for ending in endings))
"""a file with one of these extensions is an image, whatever its content: a damaged one must be reported"""
UNSUPPORTED = (
    *(".jxl", ".svg", ".psd", ".ico"),
    *(".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf"),  # raw files of cameras begin like TIFF files
)
"""extensions of images that are not read"""
UNFINISHED = (".part", ".partial", ".crdownload", ".download", ".tmp", ".thm", "~")
"""extensions of incomplete downloads, of thumbnails and of backups, which may begin like images"""

HEAD = 32
"""bytes at the beginning of a file that `is_image` needs"""
SIGNATURES = re.compile(
    rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|GIF8[79]a|II[*+]\0|MM\0[*+]|RIFF.{4}WEBP"
    rb"|BM.{4}\0{4}.{4}[\x0c\x28\x34\x38\x40\x6c\x7c]\0{3}"  # a BMP has a few sizes of header
    rb"|P[1-6]\s+[0-9#]"
    rb"|.{4}ftyp(?:avi[fs]|hei[cmsx]|hev[cmsx]|m(?:if|sf)1)"
    rb"|\0{3}\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51",
    re.DOTALL,
)
"""the beginnings of the formats in `EXTENSIONS`"""


def is_heif(head: bytes) -> bool:
    """Whether a file with these first bytes is a HEIC or HEIF image, and not an AVIF one."""
    return head[4:8] == b"ftyp" and SIGNATURES.match(head) is not None and b"avi" not in head[8:]


def is_image(path: str, head: bytes | None = None) -> bool | None:
    """Whether a file is an image, by its path and, if necessary, its first `HEAD` bytes; None if these are missing."""
    lower = path.lower()
    if lower.endswith(ENDINGS):
        return True
    if lower.endswith((*UNSUPPORTED, *UNFINISHED)):
        return False
    return None if head is None else SIGNATURES.match(head) is not None


def is_image_file(name: str) -> bool:
    """Whether `name` is an existing file that is an image."""
    if not exists(name) or not Path(name).is_file():
        return False
    with Path(name).open("rb") as file:
        return bool(is_image(name, file.read(HEAD)))
