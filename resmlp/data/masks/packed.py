"""A packed data set of images with masks, as a tree of them."""

from typing import NamedTuple

from resmlp.data.images.packed_tree import open_packed, packed_notes
from resmlp.data.masks.classnames import ListFiles
from resmlp.data.masks.maskset import UNKNOWN, FilePair
from resmlp.data.shards.index import Index, Split
from resmlp.data.shards.rows import Entries
from resmlp.imaging.decode import DEFAULT
from resmlp.utils.checks import demand


class PackedSplit(NamedTuple):
    """A split of an index."""

    images: str
    """the folder of its images, for messages"""
    packed: Index
    split: Split

    def pairs(self, root: str) -> tuple[list[FilePair], list[str]]:
        """The pairs, whose masks are not read yet, and no notes."""
        index = self.packed
        return [
            FilePair(index.member(row, DEFAULT), index.mask(row), UNKNOWN, path=index.name(row))
            for row in self.split.range
        ], []


class PackedMasks(NamedTuple):
    """All splits by name, as in a `MaskTree`."""

    splits: dict[str, PackedSplit]
    lists: ListFiles
    notes: tuple[str, ...]


def open_packed_masks(root: str) -> PackedMasks:
    """The packed data set at a folder or an address. Raises `UserError` if it has no masks, or a shard is damaged."""
    entries = open_packed(root).images
    assert isinstance(entries, Entries)
    index = entries.packed
    demand(index.masks is not None, f"{root} was packed without masks", "pack the folder with images/ and labels/")
    splits = {
        name: PackedSplit(f"{root}/{split.folder}".rstrip("/"), index, split) for name, split in index.splits.items()
    }
    lists = ListFiles(root, {name: text.encode() for name, text in index.lists.items()})
    return PackedMasks(splits, lists, packed_notes(entries, strict=True))
