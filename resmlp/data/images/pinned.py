"""What stands for the list of a run's images where there are too many: the index of a packed data set, and counts.

The settings of the run and the index decide which images are held out, so neither has to be written for each image.
"""

from typing import NamedTuple, Protocol

from resmlp.data.shards.rows import Rows
from resmlp.utils.checks import demand

LARGE = 1_000_000
"""images from which on a run on a packed data set has no list of them"""
HEADER = "index\ttrain\tval\tunused"
"""the first line of its file"""


class Counted(Protocol):
    """Images of a run: an `ImageSet`, or a `MaskSet`."""

    @property
    def unused(self) -> tuple[str, ...]:
        """The paths of the images that neither part has."""

    def __len__(self) -> int: ...


class Pinned(NamedTuple):
    """The images of a run, in the order of the columns of its file."""

    digest: str
    """the checksum of the index"""
    train: int
    val: int
    unused: int

    @classmethod
    def of(cls, train: Counted, val: Counted | None) -> "Pinned | None":
        """That of a run with these images; None for few images, and for those that are not packed."""
        counts = len(train), len(val) if val else 0, len(train.unused)
        digest = digest_of(train)
        return cls(digest, *counts) if digest and sum(counts) > LARGE else None

    def check(self, train: Counted, val: Counted | None, root: str | None) -> None:
        """Raise `UserError` unless these images, of the data at `root`, are those of the run."""
        hint = "give the folder that it was trained on, or start a new run with another --out"
        what = f"{root} is not the packed data set of the run: its index has another checksum"
        demand(digest_of(train) == self.digest, what, hint)
        found = len(train), len(val) if val else 0, len(train.unused)
        numbers = "{:,} images for training, {:,} for validation and {:,} unused"
        what = f"{root} gives {numbers.format(*found)}; the run had {numbers.format(*self[1:])}"
        demand(found == self[1:], what, "use the version of resmlp that it was trained with")


def digest_of(images: Counted) -> str:
    """The checksum of the index that the images are in; empty if they are not packed."""
    rows = getattr(images, "images", None)
    return rows.packed.digest if isinstance(rows, Rows) else ""
