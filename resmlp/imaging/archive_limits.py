"""What an archive may claim: its headers are read into memory, and so are the images of a compressed one."""

import io
import tarfile
from pathlib import Path
from typing import IO

from resmlp.utils.checks import demand

MAX_HEADER = 2**17
"""bytes of the headers of one member; a long path takes a few thousand"""
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
    claims = f"{name} claims {size:,} bytes"
    demand(0 <= size <= MAX_MEMBER, claims, "no image is that large")
    fits = packed is None or size <= FREE + MAX_RATIO * packed
    demand(fits, f"{claims}, packed into {packed or 0:,}", "no image shrinks so far: delete it")


class HeaderReader(io.RawIOBase):
    """A file for `tarfile`, which reads headers of any length into memory: more than `MAX_HEADER` bytes are refused."""

    def __init__(self, file: IO[bytes]):
        self.file, self.room = file, MAX_HEADER

    def tell(self) -> int:
        """As a file's."""
        return self.file.tell()

    def seek(self, offset: int, whence: int = 0) -> int:
        """As a file's; `tarfile` calls it before each member."""
        self.room = MAX_HEADER
        return self.file.seek(offset, whence)

    def read(self, size: int = -1) -> bytes:
        """As a file's. Raises `tarfile.ReadError`."""
        self.room -= size
        if size < 0 or self.room < 0:
            raise tarfile.ReadError(f"a header of more than {MAX_HEADER:,} bytes")
        return self.file.read(size)
