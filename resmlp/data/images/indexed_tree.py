"""A large folder as a tree of images: an index in place of lists of paths and files."""

from dataclasses import dataclass
from pathlib import Path

from resmlp.data.images.file_index import FileIndex, Listing
from resmlp.data.images.index_cache import cached_index, keep_index
from resmlp.data.images.tree_files import Tree
from resmlp.data.shards.rows import Members
from resmlp.imaging.image_file import File
from resmlp.imaging.passed_over import Skipped
from resmlp.imaging.walk import OnSkip, path_in_set, walk

LARGE = 100_000
"""images from which on a folder has an index: of fewer, lists are small, and quick to make"""


@dataclass(frozen=True, eq=False)
class FileEntries(Members):
    """The images below a folder of an index."""

    packed: FileIndex


class IndexedTree(Tree):
    """The images below a folder of an index."""

    @property
    def entries(self) -> FileEntries:
        """The images."""
        assert isinstance(self.images, FileEntries)
        return self.images

    def ranges(self) -> dict[str, range]:
        """The rows of the index below each of the top-level folders that contain images."""
        return self.entries.packed.inside(self.entries.folder)

    def folders(self) -> list[str]:
        """Names of the top-level folders that contain images, at any depth."""
        return sorted(self.ranges())

    def subtree(self, folder: str) -> "IndexedTree":
        """The tree below one of the top-level folders."""
        index, inner = self.entries.packed, f"{self.entries.folder}{folder}/"
        others = [path[len(folder) + 1 :] for path in self.other_files if path.startswith(folder + "/")]
        return IndexedTree(f"{self.root}/{folder}", FileEntries(index, index.rows(inner), inner), others)


def list_folder(root: Path, on_skip: OnSkip) -> Tree:
    """The tree below a folder; that of a large one is an index, which is kept in a cache."""
    index = cached_index(root)
    if index is None:
        listing, skipped = Listing(root), list[Skipped]()

        def note(item: Skipped) -> None:
            on_skip(item)
            skipped.append(item)

        walk(root, note, listing)
        if len(listing) < LARGE or any(item.error for item in skipped):
            files = [(path_in_set(path), File(listing.root + path)) for path in listing.paths()]
            return Tree(str(root), files, listing.others)
        index = keep_index(root, listing, skipped)
    else:
        for item in index.skipped():
            on_skip(item)
    return IndexedTree(str(root), FileEntries(index, range(len(index))), index.others())
