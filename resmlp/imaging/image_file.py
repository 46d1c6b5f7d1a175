"""Images in files, in archives and in memory, behind one protocol: `ImageSource`."""

import io
import os
import stat
import zlib
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol

import numpy as np
from PIL import Image

from resmlp.config.preprocessing import Decoding
from resmlp.imaging.decode import DEFAULT, ChooseRegion, UnreadableArchive, UnreadableImage, decode, decode_region

TAIL = 4096
"""bytes of `content_mark`"""
FAR = "far"
"""the `content_mark` of an image that would have to be fetched"""


class ImageSource(Protocol):
    """An image that can be decoded any number of times and from any process."""

    @property
    def name(self) -> str:
        """The image's name in messages."""

    def read(self) -> Image.Image:
        """Decode the whole image to RGB; raises `UnreadableImage`."""

    def read_region(self, choose_region: ChooseRegion) -> np.ndarray:
        """Decode the region that `choose_region` selects: uint8 h w 3, perhaps read-only; raises `UnreadableImage`."""


@dataclass(frozen=True, slots=True)
class Encoded(ABC):
    """An image in a known format, as a file or a part of one: each read decodes it anew. Safe to pickle and to fork."""

    @property
    @abstractmethod
    def name(self) -> str:
        """The image's name in messages."""

    @property
    @abstractmethod
    def decoding(self) -> Decoding:
        """How it is decoded."""

    @property
    def is_local(self) -> bool:
        """Whether its bytes are on this machine."""
        return True

    @abstractmethod
    def open(self) -> BinaryIO:
        """The bytes of the image file; raises `OSError`, or `UnreadableArchive`."""

    def decoded(self, decoding: Decoding) -> "Encoded":
        """The same image, decoded so."""
        return replace(self, decoding=decoding)  # type: ignore[call-arg]  # a field of each subclass

    def read(self) -> Image.Image:
        """Decode the whole image to RGB; raises `UnreadableImage`."""
        return decode(self.name, self.open, self.decoding)

    def read_region(self, choose_region: ChooseRegion) -> np.ndarray:
        """Decode the region that `choose_region` selects: uint8 h w 3; raises `UnreadableImage`."""
        return decode_region(self.name, self.open, choose_region, self.decoding)


@dataclass(frozen=True, slots=True)
class File(Encoded):
    """An image file on disk."""

    name: str
    decoding: Decoding = DEFAULT

    def open(self) -> BinaryIO:
        """The file; raises `OSError` for a pipe or a device."""
        descriptor = os.open(self.name, os.O_RDONLY | os.O_NONBLOCK)  # a pipe without a writer does not block
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            return os.fdopen(descriptor, "rb")
        os.close(descriptor)
        raise OSError("not a regular file")


@dataclass(frozen=True, slots=True)
class InArchive(Encoded):
    """An image in an archive."""

    archive: str
    path: str

    @property
    def name(self) -> str:
        """The archive, then the path in it."""
        return f"{self.archive}:{self.path}"


@dataclass(frozen=True, slots=True)
class Member(InArchive):
    """An image in an uncompressed archive, as a byte range of that file."""

    offset: int
    size: int
    decoding: Decoding = DEFAULT

    def open(self) -> BinaryIO:
        """The bytes of the range."""
        with Path(self.archive).open("rb") as file:
            file.seek(self.offset)
            return io.BytesIO(file.read(self.size))


@dataclass(frozen=True, slots=True)
class BufferedMember(InArchive):
    """An image of a compressed archive, which allows no random access: the file's bytes are kept in memory."""

    data: bytes
    decoding: Decoding = DEFAULT

    def open(self) -> BinaryIO:
        """The bytes."""
        return io.BytesIO(self.data)


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
    return image.decoded(decoding) if isinstance(image, Encoded) else image


def has_same_bytes(first: ImageSource, second: ImageSource) -> bool:
    """Whether two images are files of the same bytes. False if one of them cannot be read."""
    if not (isinstance(first, Encoded) and isinstance(second, Encoded)):
        return False
    try:
        with first.open() as one, second.open() as other:
            return one.read() == other.read()
    except (OSError, EOFError):
        return False


def content_mark(image: ImageSource) -> str:
    """The number of bytes and a checksum of the last `TAIL`, as text: another image has another mark. "" if it is gone.

    The end of a file has a checksum of all pixels (PNG), or depends on them in most formats. `FAR` for an image that is
    not on this machine.
    """
    if isinstance(image, Pixels):
        return f"{image.array.nbytes}:{zlib.crc32(image.array.tobytes()):08x}"
    if not isinstance(image, Encoded):
        return ""
    if not image.is_local:
        return FAR
    try:
        with image.open() as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(size - TAIL, 0))
            return f"{size}:{zlib.crc32(file.read()):08x}"
    except (OSError, UnreadableArchive):
        return ""
