"""The members of a tar, one after the other: plain ones at once, and all others by `tarfile`.

A plain member is a file of the POSIX or GNU format with a short name in ASCII. Of a damaged header `tarfile` says what
is wrong.
"""

import io
import tarfile
from typing import IO, NamedTuple

MAX_HEADER = 2**17
"""bytes of the headers of one member; a long path takes a few thousand"""
BLOCK = tarfile.BLOCKSIZE
REMARKS = {"comment", "atime", "ctime", "mtime", "uid", "gid", "uname", "gname"}
"""what a header for the whole archive may say of its members without a change of their names and places: `git archive`
writes a comment"""


class HeaderReader(io.RawIOBase):
    """A file for `tarfile`, which reads headers of any length into memory: more than `MAX_HEADER` bytes are refused."""

    def __init__(self, file: IO[bytes]):
        self.file, self.room = file, MAX_HEADER
        self.ahead = b""
        """a block that was read already: in a compressed file, to go back is to begin again"""

    def tell(self) -> int:
        """As a file's."""
        return self.file.tell() - len(self.ahead)

    def seek(self, offset: int, whence: int = 0) -> int:
        """As a file's; `tarfile` calls it before each member."""
        self.room, self.ahead = MAX_HEADER, b""
        return self.file.seek(offset, whence)

    def read(self, size: int = -1) -> bytes:
        """As a file's. Raises `tarfile.ReadError`."""
        self.room -= size
        if size < 0 or self.room < 0:
            raise tarfile.ReadError(f"a header of more than {MAX_HEADER:,} bytes")
        first, self.ahead = self.ahead[:size], self.ahead[size:]
        return first + self.file.read(size - len(first)) if size > len(first) else first

    def look(self, offset: int) -> bytes:
        """The block at `offset`, which `read` returns again. Raises `tarfile.ReadError` where the file ends before."""
        self.seek(offset - 1)
        if not self.file.read(1):
            raise tarfile.ReadError("unexpected end of data")
        self.ahead = self.file.read(BLOCK)
        return self.ahead


class PlainFile(NamedTuple):
    """What there is to know of a plain member, with the names of a `tarfile.TarInfo`."""

    name: str
    size: int
    offset_data: int

    def isdir(self) -> bool:
        """It is a file."""
        return False

    def isreg(self) -> bool:
        """It is a file."""
        return True

    def issparse(self) -> bool:
        """It has all its bytes."""
        return False


def next_member(tar: tarfile.TarFile, reader: HeaderReader) -> PlainFile | tarfile.TarInfo | None:
    """The next member of `tar`, which reads by `reader`; None at the end. Raises `tarfile.ReadError`."""
    if tar.offset and tar.firstmember is None and tar.pax_headers.keys() <= REMARKS:  # type: ignore[attr-defined]
        name, size = plain_header(reader.look(tar.offset))
        if size >= 0:
            member = PlainFile(name, size, tar.offset + BLOCK)
            reader.ahead = b""
            tar.offset = member.offset_data + -(-size // BLOCK) * BLOCK
            return member
    info = tar.next()
    tar.members.clear()  # type: ignore[attr-defined]  # tarfile would keep about a kilobyte per member
    return info


def file_header(name: str, size: int) -> bytes:
    """The header of a file of no time and no owner, as `tarfile` writes it in the GNU format."""
    path = name.encode()
    if len(path) >= len(NAME) or size >= 8**11:
        info = tarfile.TarInfo(name)
        info.size = size
        return info.tobuf(tarfile.GNU_FORMAT, "utf-8")
    header = path.ljust(len(NAME), b"\0") + BEFORE_SIZE + b"%011o\0" % size + AFTER_SIZE
    return header[:148] + b"%06o\0" % sum(header) + header[155:]


def plain_header(block: bytes) -> tuple[str, int]:
    """The name and the size in a header; the size is -1 where only `tarfile` can tell."""
    name, nul, _ = block[:100].partition(b"\0")
    plain = block[156:157] == b"0" and block[257:262] == b"ustar" and block[345:346] == b"\0" and nul
    if not plain or not name.isascii() or not block[124:135].isdigit() or block[135:136] not in (b"\0", b" "):
        return "", -1
    try:
        size, checksum = int(block[124:135], 8), int(block[148:156].strip(b"\0 "), 8)
    except ValueError:
        return "", -1
    whole = len(block) == BLOCK and checksum == sum(block) - sum(block[148:156]) + 8 * ord(" ")
    return (name.decode(), size) if whole else ("", -1)


_EMPTY = tarfile.TarInfo("").tobuf(tarfile.GNU_FORMAT, "utf-8")
_EMPTY = _EMPTY[:148] + b" " * 8 + _EMPTY[156:]  # its checksum is that with spaces in its place
NAME, BEFORE_SIZE, AFTER_SIZE = _EMPTY[:100], _EMPTY[100:124], _EMPTY[136:]
"""the parts of a header"""
