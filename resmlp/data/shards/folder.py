"""The shards of a packed data set in their folder, and an image in one of them."""

import hashlib
import io
import os
import stat
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO, ClassVar, NamedTuple

from resmlp.config.preprocessing import Decoding
from resmlp.imaging.decode import DEFAULT, UnreadableArchive
from resmlp.imaging.image_file import InArchive
from resmlp.utils.errors import UserError


class Shard(NamedTuple):
    """A tar file next to the index."""

    name: str
    bytes: int
    checksum: str
    """BLAKE2b of the whole file, 16 bytes in hexadecimal"""


class ShardFolder(ABC):
    """Where the shards of an index are. Safe to pickle."""

    is_local: ClassVar[bool]
    """False where a shard has to be fetched before it is read"""

    @abstractmethod
    def where(self, shard: Shard) -> str:
        """The path or the address of a shard."""

    @abstractmethod
    def open(self, shard: Shard) -> int:
        """A new file descriptor of a shard. Raises `UnreadableArchive`."""

    def read(self, shard: Shard, offset: int, size: int) -> bytes:
        """Bytes of a shard. Raises `UnreadableArchive` if it is not there, or ends before them."""
        return self.read_open(self.open(shard), shard, offset, size)

    def read_open(self, descriptor: int, shard: Shard, offset: int, size: int) -> bytes:
        """The same of a file of the shard, which is closed."""
        try:
            data = os.pread(descriptor, size, offset)
            if len(data) < size:
                found = os.fstat(descriptor).st_size
                raise UnreadableArchive(self.where(shard), f"it {other_size(found, shard)}")
        except OSError as error:
            raise UnreadableArchive(self.where(shard), error.strerror or str(error)) from None
        finally:
            os.close(descriptor)
        return data

    def failure(self, shard: Shard) -> str | None:
        """Why a server did not send a shard just now; None: it did, or was not asked."""
        return None

    def damaged(self, shards: Sequence[Shard]) -> Iterator[UserError]:
        """An error for each shard that is known not to be as it was packed, without reading it."""
        yield from ()

    def notes(self, shards: Sequence[Shard]) -> Iterator[str]:
        """What a user should know before these shards are read."""
        yield from ()


@dataclass(frozen=True)
class LocalFolder(ShardFolder):
    """A folder of this machine."""

    path: Path
    is_local = True

    def where(self, shard: Shard) -> str:
        """The path of the file."""
        return os.path.join(self.path, shard.name)  # noqa: PTH118 (faster, and asked for with each image)

    def open(self, shard: Shard) -> int:
        """The file."""
        try:
            return os.open(self.where(shard), os.O_RDONLY | os.O_NONBLOCK)  # a pipe does not block
        except OSError as error:
            raise UnreadableArchive(self.where(shard), error.strerror or str(error)) from None

    def damaged(self, shards: Sequence[Shard]) -> Iterator[UserError]:
        """An error for each shard that is missing, or that has another size than when it was written."""
        for shard in shards:
            path = self.path / shard.name
            try:
                found = path.stat()
            except OSError as error:
                yield UserError(f"no shard {path}: {error.strerror}", "restore it: the index lists it")
                continue
            if not stat.S_ISREG(found.st_mode):
                yield UserError(f"the shard {path} is no file", "restore it, or pack the data again")
            elif found.st_size != shard.bytes:
                what = f"the shard {path} {other_size(found.st_size, shard)}"
                yield UserError(what, "restore it, or pack the data again")


def other_size(found: int, shard: Shard) -> str:
    """What is wrong with a shard of `found` bytes."""
    return f"has {found:,} bytes, and {shard.bytes:,} when it was packed: it was cut or changed"


def checksum(file: BinaryIO) -> str:
    """BLAKE2b of a whole file, as `Shard` has it."""
    return hashlib.file_digest(file, partial(hashlib.blake2b, digest_size=16)).hexdigest()  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class ShardImage(InArchive):
    """An image in a shard, as a byte range of it."""

    offset: int
    size: int
    shard: Shard
    folder: ShardFolder
    decoding: Decoding = DEFAULT

    @property
    def is_local(self) -> bool:
        """Whether it is read without fetching a shard."""
        return self.folder.is_local

    def open(self) -> BinaryIO:
        """The bytes of the range. Raises `UnreadableArchive` if the shard is not there, or ends before them."""
        return io.BytesIO(self.folder.read(self.shard, self.offset, self.size))
