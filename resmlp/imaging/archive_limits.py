"""What an archive may claim: its headers are read into memory, and so are the images of a compressed one."""

from pathlib import Path

from resmlp.utils.errors import UserError

MAX_MEMBER = 2**29
"""bytes of one image file in an archive"""
MAX_BUFFERED = 4 * 2**30
"""bytes of all images of a compressed archive"""
FREE, MAX_RATIO = 2**26, 100
"""bytes that images may take anyway, and for each byte of a compressed archive; uncompressed formats shrink to 1/20"""


def max_buffered(archive: Path) -> int:
    """The bytes that the images of a compressed archive may take."""
    return min(MAX_BUFFERED, FREE + MAX_RATIO * archive.stat().st_size)


def check_member(name: str, size: int, packed: int | None = None) -> None:
    """Raise `UserError` for an image in an archive that claims more bytes than an image has.

    `packed` is the number of its bytes in the archive, where each member is compressed by itself.
    """
    if not 0 <= size <= MAX_MEMBER:
        raise UserError(f"{name} claims {size:,} bytes", "no image is that large")
    if packed is not None and size > FREE + MAX_RATIO * packed:
        raise UserError(f"{name} claims {size:,} bytes, packed into {packed:,}", "no image shrinks so far: delete it")
