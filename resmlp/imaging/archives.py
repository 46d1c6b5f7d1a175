"""The members of archives: .tar, also compressed by gzip, bzip2 or xz, and .zip. The content decides, not the ending.

Archives are not trusted. The names of their members are used only as labels and in messages, nothing is unpacked to
disk, and symbolic links, devices and hidden files are skipped. A hard link is its target, if that is in the archive.
"""

import bz2
import gzip
import lzma
import tarfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

from resmlp.imaging.archive_limits import check_member, max_buffered
from resmlp.imaging.file_types import HEAD, is_image
from resmlp.imaging.image_file import BufferedMember, ImageSource, Member
from resmlp.imaging.tar_headers import HeaderReader, PlainFile, next_member
from resmlp.imaging.zip_file import is_zip, zip_members
from resmlp.utils.errors import UserError, printable

ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tbz", ".tar.xz", ".txz", ".zip")
"""the endings of archives"""
COMPRESSIONS: dict[bytes, Callable[[Path], Any]] = {
    b"\x1f\x8b": gzip.GzipFile,
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\0": lzma.LZMAFile,
}
"""the first bytes of a compressed file -> what opens it"""
DAMAGED = (tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, OSError)


class HardLink(NamedTuple):
    """A member of an archive that is another member again."""

    target: str
    """the path of the other one"""


def stem_of(name: str) -> str:
    """The name of an archive without its ending, in lower case."""
    name = name.lower()
    ending = max((ending for ending in ARCHIVES if name.endswith(ending)), key=len, default="")
    return name.removesuffix(ending)


def archive_members(
    archive: Path, on_outside: Callable[[str], Any] = lambda name: None
) -> Iterator[tuple[str, ImageSource | HardLink | None]]:
    """(path, content) of each member that is not hidden, without folders; None if it is no image.

    Calls `on_outside` with the name of each member that leads out of the archive, which is left out as well. Raises
    `UserError` for an archive that is damaged, truncated, encrypted, or too large to keep in memory.
    """
    try:
        with archive.open("rb") as file:
            head = file.read(8)
        if is_zip(head):
            for name, image in zip_members(archive):
                if path := _member_path(name):
                    yield path, image
                elif ".." in name.split("/"):
                    on_outside(name)
        else:
            yield from _tar_members(archive, head, on_outside)
    except DAMAGED as error:
        hint = "check that it is complete; create or download it again"
        raise UserError(f"cannot read the archive {archive}: {error}", hint) from error


def _tar_members(
    archive: Path, head: bytes, on_outside: Callable[[str], Any]
) -> Iterator[tuple[str, ImageSource | HardLink | None]]:
    opened = next((opened for magic, opened in COMPRESSIONS.items() if head.startswith(magic)), None)
    buffered = 0
    with (
        opened(archive) if opened else archive.open("rb") as file,
        tarfile.open(fileobj=(reader := HeaderReader(file)), mode="r:") as tar,
    ):
        while (info := next_member(tar, reader)) is not None:
            path = _member_path(info.name)
            if ".." in info.name.split("/"):
                on_outside(info.name)
            if not path or info.isdir():
                continue
            if isinstance(info, tarfile.TarInfo) and info.islnk():
                yield path, HardLink(_member_path(info.linkname))
                continue
            if not info.isreg() or info.issparse() or not _is_image(file, path, info):
                yield path, None
                continue
            check_member(f"{archive}:{path}", info.size)
            if not opened:
                yield path, Member(str(archive), path, info.offset_data, info.size)
                continue
            buffered += info.size
            if buffered > (limit := max_buffered(archive)):
                what = f"the images of {archive} do not fit into {limit / 2**30:.2g} GiB of memory"
                raise UserError(what, "unpack the archive")
            file.seek(info.offset_data)
            yield path, BufferedMember(str(archive), path, file.read(info.size))
        file.seek(tar.offset)
        if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):  # tarfile itself accepts any other end
            raise tarfile.ReadError("it has no end-of-archive marker, so it is truncated or damaged")


def _member_path(name: str) -> str:
    """The path of a member in its archive, printable; empty for a hidden file."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    return "" if any(part.startswith(".") for part in parts) else printable("/".join(parts))


def _is_image(file: IO[bytes], path: str, info: tarfile.TarInfo | PlainFile) -> bool:
    """Whether a member is an image; reads its beginning only if its name does not tell."""
    by_name = is_image(path)
    if by_name is None:
        file.seek(info.offset_data)
        return bool(is_image(path, file.read(min(HEAD, max(info.size, 0)))))
    return by_name
