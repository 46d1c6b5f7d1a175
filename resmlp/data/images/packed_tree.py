"""A packed data set as a tree of images: it is opened wherever a folder of images is."""

from pathlib import Path

from resmlp.data.images.tree_files import Tree
from resmlp.data.shards.index import INDEX, Index
from resmlp.data.shards.remote_folder import open_remote
from resmlp.data.shards.rows import Entries
from resmlp.utils.address import is_address
from resmlp.utils.checks import demand

BEGUN = "packing.resmlp.json"
"""the file of a folder that is not packed to the end"""
SHOWN = 3
"""damaged shards that are named before training"""


class PackedTree(Tree):
    """The images of all splits, or of one."""

    def folders(self) -> list[str]:
        """Names of the top-level folders: the splits, or the classes."""
        entries = self.images
        assert isinstance(entries, Entries)
        splits = [split.folder for split in entries.packed.splits.values()]
        inside = bool(entries.folder) or splits == [""]
        return list(entries.packed.classes) if inside else sorted({name.partition("/")[0] for name in splits})


def is_packed(folder: Path) -> bool:
    """Whether a folder has shards and their index, or will have them when its packing is continued."""
    return (folder / INDEX).exists() or (folder / BEGUN).exists()


def open_packed(root: str | Path) -> PackedTree:
    """The images of a packed data set, in a folder or at an address.

    Raises `UserError` if it is not complete, if the index is damaged, and if all shards are.
    """
    if is_address(str(root)):
        root = str(root).rstrip("/")
        index = open_remote(root)
    else:
        what = f"{root} is not packed to the end"
        demand((Path(root) / INDEX).exists(), what, "give the command resmlp data pack again, it continues")
        index = Index(Path(root) / INDEX)
    index.check_shards(all_of_them=False)
    return PackedTree(str(root), Entries(index, range(len(index))), [])


def packed_notes(entries: Entries, strict: bool) -> tuple[str, ...]:
    """A line for each of a few damaged shards, and for shards on a server. Raises `UserError` for one if `strict`."""
    index = entries.packed
    wrong = [f"{what}: its images that cannot be read are left out" for what in index.check_shards(strict)]
    more = [f"and {len(wrong) - SHOWN:,} more shards are not as they were packed"] * (len(wrong) > SHOWN)
    return (*wrong[:SHOWN], *more, *index.folder.notes(index.shards))


def packed_split(whole: Tree, name: str) -> PackedTree | None:
    """The images of the split train or val, if a packed data set has it."""
    entries = whole.images
    assert isinstance(entries, Entries)
    split = entries.packed.splits.get(name)
    if split is None:
        return None
    root = f"{whole.root}/{split.folder}".removesuffix("/")
    return PackedTree(root, Entries(entries.packed, split.range, split.folder), [])
