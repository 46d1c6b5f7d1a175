"""What a run does not use of a tree of images, in one line."""

from collections import Counter
from collections.abc import Iterator
from pathlib import PurePosixPath

from resmlp.data.images.indexed_sets import outside_folders
from resmlp.data.images.indexed_tree import IndexedTree
from resmlp.data.images.packed_tree import packed_notes
from resmlp.data.images.tree_files import Tree
from resmlp.data.images.trees import SplitTree, open_tree
from resmlp.data.shards.rows import Entries
from resmlp.imaging.archives import ARCHIVES
from resmlp.imaging.image_file import File
from resmlp.imaging.passed_over import Skipped, passed_over_texts
from resmlp.utils.errors import counted

SYSTEM_FILES = ("Thumbs.db", "desktop.ini")
SHOWN = 4  # extensions


def open_noted_tree(root: str, flag: str = "--data.root", strict: bool = False) -> tuple[SplitTree, tuple[str, ...]]:
    """The tree at `root`, as `open_tree` gives it, and a note of what is left out; no note if that is nothing.

    Raises `UserError` as `open_tree` does, and with `strict` also for one damaged shard of a packed data set.
    """
    skipped: list[Skipped] = []

    def on_skip(item: Skipped) -> None:
        if item.error:
            raise item.error
        skipped.append(item)

    tree = open_tree(root, on_skip, flag)
    if isinstance(tree.whole.images, Entries):
        return tree, packed_notes(tree.whole.images, strict)
    parts = list(_left_out(tree, skipped))
    return tree, (f"left out of {root}: {'; '.join(parts)}",) if parts else ()


def _left_out(tree: SplitTree, skipped: list[Skipped]) -> Iterator[str]:
    files = [path for path in tree.whole.other_files if not path.endswith(("/", *SYSTEM_FILES))]
    packed = [path for path in files if path.lower().endswith(ARCHIVES)]
    if packed:
        on_disk = any(isinstance(image, File) for _, image in tree.whole.images[:1])
        where = "beside the folders" if on_disk else "within an archive"
        yield f"{counted(len(packed), 'unopened archive')} {where} ({min(packed)})"
    files = [path for path in files if not path.lower().endswith(ARCHIVES)]
    if files:
        endings = Counter(PurePosixPath(path).suffix.lower() or "no extension" for path in files)
        shown = ", ".join(f"{ending} {count:,}" for ending, count in endings.most_common(SHOWN))
        yield f"{counted(len(files), 'file')} in no image format that is read ({shown}; {min(files)})"
    prefixes = tuple(tree.prefix(split) for split in (tree.train, tree.val) if split) or ("",)
    count, first = _outside(tree.whole, prefixes)
    if 0 < count < len(tree.whole.images):  # without any class folder, all images are used, or it is an error
        yield f"{counted(count, 'image')} outside the class folders ({first})"
    yield from passed_over_texts(skipped)


def _outside(tree: Tree, prefixes: tuple[str, ...]) -> tuple[int, str]:
    """The number of images outside class folders, and the path of the first."""
    if isinstance(tree, IndexedTree):
        return outside_folders(tree, prefixes)
    outside = [path for path, _ in tree.images if not _has_class(path, prefixes)]
    return len(outside), min(outside, default="")


def _has_class(path: str, prefixes: tuple[str, ...]) -> bool:
    """Whether an image lies in a class folder of a split."""
    return any(path.startswith(prefix) and "/" in path[len(prefix) :] for prefix in prefixes)
