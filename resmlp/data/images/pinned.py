"""What stands for the list of a run's images where there are too many: the index of the data set, and counts.

The settings of the run and the index decide which images are held out, so neither has to be written for each image.
"""

from collections.abc import Sequence
from hashlib import blake2b
from typing import NamedTuple, Protocol

from resmlp.data.images.file_index import FileIndex
from resmlp.data.shards.rows import Rows
from resmlp.utils.checks import demand

LARGE = 1_000_000
"""images from which on a run on a packed data set, or on a folder, has no list of them"""
HEADER = "index\ttrain\tval\tunused"
"""the first line of its file"""
MARKED = 20_000
"""files whose content is marked; of more, these are evenly spaced: on a network disk each takes a while"""


class Counted(Protocol):
    """Images of a run: an `ImageSet`, or a `MaskSet`."""

    @property
    def unused(self) -> Sequence[str]:
        """The paths of the images that neither part has."""

    def __len__(self) -> int: ...

    def content(self, i: int) -> str:
        """A mark of the content of image `i`; empty if it is gone."""


class Pinned(NamedTuple):
    """The images of a run, in the order of the columns of its file."""

    digest: str
    """the checksum of the index"""
    train: int
    val: int
    unused: int

    @classmethod
    def of(cls, train: Counted, val: Counted | None) -> "Pinned | None":
        """That of a run with these images; None for few images, and for those that no index has."""
        counts = len(train), len(val) if val else 0, len(train.unused)
        digest = digest_of(train, val) if sum(counts) > LARGE else ""
        return cls(digest, *counts) if digest else None

    def check(self, train: Counted, val: Counted | None, root: str | None) -> None:
        """Raise `UserError` unless these images, of the data at `root`, are those of the run."""
        hint = "give the folder that it was trained on, or start a new run with another --out"
        what = f"{root} is not the data set of the run, or it has changed: its index has another checksum"
        demand(digest_of(train, val) == self.digest, what, hint)
        found = len(train), len(val) if val else 0, len(train.unused)
        numbers = "{:,} images for training, {:,} for validation and {:,} unused"
        what = f"{root} gives {numbers.format(*found)}; the run had {numbers.format(*self[1:])}"
        demand(found == self[1:], what, "use the version of resmlp that it was trained with")


def marked_images(count: int) -> range:
    """The numbers of the images whose content is marked, of `count`."""
    return range(0, count, max(1, -(-count // MARKED)))


def digest_of(train: Counted, val: Counted | None) -> str:
    """The checksum of the index that the images are in; empty if there is none.

    That of a folder has the marks of the content of some images as well.
    """
    rows = getattr(train, "images", None)
    if not isinstance(rows, Rows):
        return ""
    if not isinstance(rows.packed, FileIndex):
        return rows.packed.digest
    checksum = blake2b(rows.packed.digest.encode(), digest_size=16)
    for part in (train, val) if val else (train,):
        for i in marked_images(len(part)):
            checksum.update(f"{part.content(i)}\n".encode())
    return checksum.hexdigest()
