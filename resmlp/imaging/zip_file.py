"""The images in a .zip: listed once from its central directory, then read one by one from any process."""

import bz2
import io
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from resmlp.config.preprocessing import Decoding
from resmlp.imaging.archive_limits import check_member
from resmlp.imaging.decode import DEFAULT
from resmlp.imaging.file_types import HEAD, is_image
from resmlp.imaging.image_file import ImageSource, InArchive
from resmlp.utils.checks import demand
from resmlp.utils.errors import printable

STARTS = (b"PK\x03\x04", b"PK\x05\x06")
"""the first bytes of a zip, and of one without members"""
LOCAL = struct.Struct("<4s22xHH")
"""the header before the data of a member: its mark, and the lengths of two fields after it"""
ENCRYPTED, UTF_8 = 0x1, 0x800  # flags of a member
STORED, DEFLATED, BZIP2 = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2


def is_zip(head: bytes) -> bool:
    """Whether a file with these first bytes is a zip."""
    return head.startswith(STARTS)


@dataclass(frozen=True, slots=True)
class ZipMember(InArchive):
    """An image in a zip. Each read opens the file and decompresses this member alone: safe to fork."""

    header: int
    """where its header is in the file"""
    packed: int
    """bytes in the file"""
    size: int
    """bytes when unpacked"""
    method: int
    checksum: int
    decoding: Decoding = DEFAULT

    def open(self) -> BinaryIO:
        """The unpacked bytes; raises `OSError` if they are not those that were packed."""
        data = self.unpack(self.size + 1)
        if len(data) != self.size or zlib.crc32(data) != self.checksum:
            raise OSError("damaged in the archive: wrong checksum or size")
        return io.BytesIO(data)

    def unpack(self, count: int) -> bytes:
        """The first `count` bytes; raises `OSError`."""
        with Path(self.archive).open("rb") as file:
            file.seek(self.header)
            start = file.read(30)
            if len(start) < 30 or (fields := LOCAL.unpack(start))[0] != STARTS[0]:
                raise OSError("no member where the archive's directory says")
            file.seek(fields[1] + fields[2], io.SEEK_CUR)
            data = file.read(self.packed if count > self.size else min(self.packed, count + 4096))
        try:
            if self.method == DEFLATED:
                return zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, count)
            return bz2.BZ2Decompressor().decompress(data, count) if self.method == BZIP2 else data[:count]
        except zlib.error as error:
            raise OSError(f"damaged in the archive: {error}") from None


def zip_members(archive: Path) -> Iterator[tuple[str, ImageSource | None]]:
    """(name, image) of each member that is not a folder; None if it is no image.

    Raises `UserError` for an archive that is damaged, encrypted, or packed in an unusual way.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            members = opened.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error, OverflowError) as error:
        raise OSError(printable(str(error))) from error
    for info in members:
        name = _name(info)
        if name.endswith("/"):
            continue
        where = f"{archive}:{printable(name)}"
        demand(not info.flag_bits & ENCRYPTED, f"{where} is encrypted", "unpack the archive with its password")
        mode = info.external_attr >> 16
        plain = not stat.S_IFMT(mode) or stat.S_ISREG(mode)  # no symbolic link
        yield name, _image(archive, where, name, info) if plain else None


def _image(archive: Path, where: str, name: str, info: zipfile.ZipInfo) -> ImageSource | None:
    """A member as an image; None if it is none. Opens it only if its name does not tell."""
    by_name = is_image(name)
    if by_name is False:
        return None
    path = printable("/".join(part for part in name.split("/") if part not in ("", ".")))
    member = ZipMember(
        str(archive), path, info.header_offset, info.compress_size, info.file_size, info.compress_type, info.CRC
    )
    known = info.compress_type in (STORED, DEFLATED, BZIP2)
    if by_name is None and not (known and is_image(name, _head(member))):
        return None
    method = zipfile.compressor_names.get(info.compress_type, str(info.compress_type))  # type: ignore[attr-defined]
    demand(known, f"{where} is compressed by {method}, which is not read", "unpack the archive")
    check_member(where, info.file_size, info.compress_size)
    return member


def _head(member: ZipMember) -> bytes:
    """The first bytes of a member; empty if it is damaged."""
    try:
        return member.unpack(HEAD)
    except OSError:
        return b""


def _name(info: zipfile.ZipInfo) -> str:
    """The name of a member with '/' between its parts: UTF-8 also where a program did not mark it as such."""
    name = info.filename
    if not info.flag_bits & UTF_8:
        try:
            name = name.encode("cp437").decode()
        except UnicodeError:
            name = info.filename
    return name if "/" in name else name.replace("\\", "/")
