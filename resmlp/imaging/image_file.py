"""Images in files, in archives and in memory, behind one protocol: `ImageSource`.

Archives are not trusted. The names of their members are used only as labels and in messages, nothing is unpacked to
disk, and symbolic links, devices and hidden files are skipped. A hard link is its target, if that is in the archive.
"""

import gzip
import io
import os
import stat
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol

import numpy as np
from PIL import Image

from resmlp.config.preprocessing import Decoding
from resmlp.imaging.archive_limits import HeaderReader, max_buffered
from resmlp.imaging.decode import DEFAULT, ChooseRegion, UnreadableImage, decode, decode_region
from resmlp.imaging.file_types import HEAD, is_image
from resmlp.utils.errors import UserError, printable

TAIL = 4096
"""bytes of `content_mark`"""
MAX_MEMBER = 512 * 2**20  # bytes of one image file in an archive


class ImageSource(Protocol):
    """An image that can be decoded any number of times and from any process."""

    @property
    def name(self) -> str:
        """The image's name in messages."""

    def read(self) -> Image.Image:
        """Decode the whole image to RGB; raises `UnreadableImage`."""

    def read_region(self, choose_region: ChooseRegion) -> np.ndarray:
        """Decode the region that `choose_region` selects: uint8 h w 3, perhaps read-only; raises `UnreadableImage`."""


class File(NamedTuple):
    """An image file on disk."""

    name: str
    decoding: Decoding = DEFAULT

    def _open(self) -> BinaryIO:
        descriptor = os.open(self.name, os.O_RDONLY | os.O_NONBLOCK)  # a pipe without a writer does not block
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            return os.fdopen(descriptor, "rb")
        os.close(descriptor)
        raise OSError("not a regular file")

    def read(self) -> Image.Image:
        """Decode the whole image to RGB; raises `UnreadableImage`."""
        return decode(self.name, self._open, self.decoding)

    def read_region(self, choose_region: ChooseRegion) -> np.ndarray:
        """Decode the region that `choose_region` selects: uint8 h w 3; raises `UnreadableImage`."""
        return decode_region(self.name, self._open, choose_region, self.decoding)


class Member(NamedTuple):
    """An image in an uncompressed archive, as a byte range of that file. Each read opens the file: safe to fork."""

    archive: str
    path: str
    offset: int
    size: int
    decoding: Decoding = DEFAULT

    @property
    def name(self) -> str:
        """The archive, then the path in it."""
        return f"{self.archive}:{self.path}"

    def _open(self) -> io.BytesIO:
        with Path(self.archive).open("rb") as file:
            file.seek(self.offset)
            return io.BytesIO(file.read(self.size))

    def read(self) -> Image.Image:
        """Decode the whole image to RGB; raises `UnreadableImage`."""
        return decode(self.name, self._open, self.decoding)

    def read_region(self, choose_region: ChooseRegion) -> np.ndarray:
        """Decode the region that `choose_region` selects: uint8 h w 3; raises `UnreadableImage`."""
        return decode_region(self.name, self._open, choose_region, self.decoding)


class BufferedMember(NamedTuple):
    """An image of a compressed archive, which allows no random access: the file's bytes are kept in memory."""

    archive: str
    path: str
    data: bytes
    decoding: Decoding = DEFAULT

    @property
    def name(self) -> str:
        """The archive, then the path in it."""
        return f"{self.archive}:{self.path}"

    def _open(self) -> io.BytesIO:
        return io.BytesIO(self.data)

    def read(self) -> Image.Image:
        """Decode the whole image to RGB; raises `UnreadableImage`."""
        return decode(self.name, self._open, self.decoding)

    def read_region(self, choose_region: ChooseRegion) -> np.ndarray:
        """Decode the region that `choose_region` selects: uint8 h w 3; raises `UnreadableImage`."""
        return decode_region(self.name, self._open, choose_region, self.decoding)


class Missing(NamedTuple):
    """An image that is gone."""

    name: str
    reason: str

    def read(self) -> Image.Image:
        """Raises `UnreadableImage`."""
        raise UnreadableImage(self.name, self.reason)

    def read_region(self, choose_region: ChooseRegion) -> np.ndarray:
        """Raises `UnreadableImage`."""
        raise UnreadableImage(self.name, self.reason)


class Pixels(NamedTuple):
    """A decoded image in memory."""

    name: str
    array: np.ndarray  # H W or H W 3, uint8

    def read(self) -> Image.Image:
        """The image as RGB."""
        return Image.fromarray(self.array).convert("RGB")

    def read_region(self, choose_region: ChooseRegion) -> np.ndarray:
        """The region that `choose_region` selects: uint8 h w 3."""
        colors = self.array if self.array.ndim == 3 else np.broadcast_to(self.array[..., None], (*self.array.shape, 3))
        left, top, right, bottom = choose_region(colors.shape[1::-1]).box
        return colors[top:bottom, left:right]


def with_decoding(image: ImageSource, decoding: Decoding) -> ImageSource:
    """The same image, decoded so; pixels in memory do not change."""
    return image._replace(decoding=decoding) if isinstance(image, File | Member | BufferedMember) else image


class HardLink(NamedTuple):
    """A member of an archive that is another member again."""

    target: str
    """the path of the other one"""


def content_mark(image: ImageSource) -> str:
    """The number of bytes and a checksum of the last `TAIL`, as text: another image has another mark. "" if it is gone.

    The end of a file has a checksum of all pixels (PNG), or depends on them in most formats.
    """
    if isinstance(image, Pixels):
        return f"{image.array.nbytes}:{zlib.crc32(image.array.tobytes()):08x}"
    if not isinstance(image, File | Member | BufferedMember):
        return ""
    try:
        with image._open() as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(size - TAIL, 0))
            return f"{size}:{zlib.crc32(file.read()):08x}"
    except OSError:
        return ""


def archive_members(archive: Path) -> Iterator[tuple[str, ImageSource | HardLink | None]]:
    """(path, content) of each member that is not hidden, without folders; None if it is no image.

    Raises `UserError` for an archive that is damaged, truncated, or too large to keep in memory.
    """
    compressed = not archive.name.lower().endswith(".tar")
    buffered = 0
    try:
        opened = gzip.open if compressed else open
        with opened(archive, "rb") as file, tarfile.open(fileobj=HeaderReader(file), mode="r:") as tar:
            while (info := tar.next()) is not None:
                tar.members.clear()  # type: ignore[attr-defined]  # tarfile would keep about a kilobyte per member
                path = _member_path(info.name)
                if not path or info.isdir():
                    continue
                if info.islnk():
                    yield path, HardLink(_member_path(info.linkname))
                    continue
                if not info.isreg() or info.issparse() or not _is_image(file, path, info):
                    yield path, None
                    continue
                if not 0 <= info.size <= MAX_MEMBER:
                    raise UserError(f"{archive}:{path} claims {info.size:,} bytes", "no image is that large")
                if not compressed:
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
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        hint = "check that it is complete; create or download it again"
        raise UserError(f"cannot read the archive {archive}: {error}", hint) from error


def _member_path(name: str) -> str:
    """The path of a member in its archive, printable; empty for a hidden file."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    return "" if any(part.startswith(".") for part in parts) else printable("/".join(parts))


def _is_image(file: gzip.GzipFile | io.BufferedReader, path: str, info: tarfile.TarInfo) -> bool:
    """Whether a member is an image; reads its beginning only if its name does not tell."""
    by_name = is_image(path)
    if by_name is None:
        file.seek(info.offset_data)
        return bool(is_image(path, file.read(min(HEAD, max(info.size, 0)))))
    return by_name
