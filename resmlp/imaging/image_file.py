"""Images where they lie: in files, in archives, in memory.

Archives may be hostile: their members' names serve as labels and in messages alone, nothing is ever unpacked to disk,
and links, devices and hidden files are passed over.
"""

import gzip
import io
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol

import numpy as np
from PIL import Image

from resmlp.imaging.decode import Choose, decode, decode_part
from resmlp.utils.errors import UserError, printable

ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
MAX_MEMBER = 512 * 2**20  # bytes of one image file in an archive
MAX_HELD = 4 * 2**30  # bytes of all images of a compressed archive, which are kept in memory


class ImageSource(Protocol):
    """Something that can be read as an RGB image, again and again and from any process."""

    @property
    def name(self) -> str:
        """What messages call it."""

    def read(self) -> Image.Image:
        """The RGB image; raises `UnreadableImage`."""

    def part(self, choose: Choose) -> np.ndarray:
        """What `choose` takes of it: uint8 h w 3, which may not be written to; raises `UnreadableImage`."""


class File(NamedTuple):
    """An image that is a file."""

    name: str

    def _open(self) -> BinaryIO:
        return Path(self.name).open("rb")

    def read(self) -> Image.Image:
        """The RGB image; raises `UnreadableImage`."""
        return decode(self.name, self._open)

    def part(self, choose: Choose) -> np.ndarray:
        """What `choose` takes of it, uint8 h w 3; raises `UnreadableImage`."""
        return decode_part(self.name, self._open, choose)


class Member(NamedTuple):
    """An image in an uncompressed archive: a stretch of that file, opened for each read and so safe to fork."""

    archive: str
    path: str
    offset: int
    size: int

    @property
    def name(self) -> str:
        """The archive, then the path in it."""
        return f"{self.archive}:{self.path}"

    def _open(self) -> io.BytesIO:
        with Path(self.archive).open("rb") as file:
            file.seek(self.offset)
            return io.BytesIO(file.read(self.size))

    def read(self) -> Image.Image:
        """The RGB image; raises `UnreadableImage`."""
        return decode(self.name, self._open)

    def part(self, choose: Choose) -> np.ndarray:
        """What `choose` takes of it, uint8 h w 3; raises `UnreadableImage`."""
        return decode_part(self.name, self._open, choose)


class Held(NamedTuple):
    """An image of a compressed archive, which cannot be read out of order: its file's bytes."""

    archive: str
    path: str
    data: bytes

    @property
    def name(self) -> str:
        """The archive, then the path in it."""
        return f"{self.archive}:{self.path}"

    def _open(self) -> io.BytesIO:
        return io.BytesIO(self.data)

    def read(self) -> Image.Image:
        """The RGB image; raises `UnreadableImage`."""
        return decode(self.name, self._open)

    def part(self, choose: Choose) -> np.ndarray:
        """What `choose` takes of it, uint8 h w 3; raises `UnreadableImage`."""
        return decode_part(self.name, self._open, choose)


class Pixels(NamedTuple):
    """An image that is in memory, decoded."""

    name: str
    array: np.ndarray  # H W or H W 3, uint8

    def read(self) -> Image.Image:
        """The RGB image."""
        return Image.fromarray(self.array).convert("RGB")

    def part(self, choose: Choose) -> np.ndarray:
        """What `choose` takes of it, uint8 h w 3."""
        colors = self.array if self.array.ndim == 3 else np.broadcast_to(self.array[..., None], (*self.array.shape, 3))
        left, top, right, bottom = choose(colors.shape[1::-1]).box
        return colors[top:bottom, left:right]


def members(archive: Path) -> Iterator[tuple[str, ImageSource | None]]:
    """(path, image) of each regular file that is not hidden; the image is None where the ending is another."""
    packed = not archive.name.lower().endswith(".tar")
    held = 0
    try:
        with (gzip.open if packed else open)(archive, "rb") as file, tarfile.open(fileobj=file, mode="r:") as tar:
            while (info := tar.next()) is not None:
                tar.members.clear()  # type: ignore[attr-defined]  # they would take a kilobyte each
                parts = [part for part in info.name.split("/") if part not in ("", ".")]
                if not info.isreg() or info.issparse() or any(part.startswith(".") for part in parts):
                    continue
                path = printable("/".join(parts))
                if not path.lower().endswith(ENDINGS):
                    yield path, None
                    continue
                if not 0 <= info.size <= MAX_MEMBER:
                    raise UserError(f"{archive}:{path} claims {info.size:,} bytes", "no image is that large")
                if not packed:
                    yield path, Member(str(archive), path, info.offset_data, info.size)
                    continue
                held += info.size
                if held > MAX_HELD:
                    limit = f"{MAX_HELD / 2**30:g} GiB"
                    raise UserError(f"the images of {archive} exceed {limit}, and are held in memory", "unpack it")
                file.seek(info.offset_data)
                yield path, Held(str(archive), path, file.read(info.size))
            file.seek(tar.offset)
            if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):  # tarfile takes any other end as well
                raise tarfile.ReadError("it has no end mark, and so is cut short or damaged")
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        raise UserError(f"cannot read the archive {archive}: {error}", "is it whole? pack or fetch it again") from error
