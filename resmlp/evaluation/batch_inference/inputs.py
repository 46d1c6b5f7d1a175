"""The images that a command is given, in a fixed order, with their paths and labels."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, overload

import numpy as np

from resmlp.config.label_table import LabelTable
from resmlp.utils.checks import demand

if TYPE_CHECKING:
    from resmlp.data.images.imageset import ImageSet
    from resmlp.imaging.image_file import ImageSource

NO_TABLE = LabelTable()


@dataclass(frozen=True)
class Inputs:
    """Images in a fixed order."""

    images: "ImageSet"
    labels: Sequence[str | None]
    """of each image its class folder, or its labels in a table; None for an image without one"""
    root: str = ""
    """the folder or archive that all are in, which is left out of their paths; empty: they are as they are given"""

    def __len__(self) -> int:
        return len(self.images)

    def path(self, i: int) -> str:
        """The path of an image in the folder or archive, divided by '/'."""
        return self.images.paths[i] if self.images.paths else _inner(self.images.name(i), self.root)

    def raise_if_not_sent(self, i: int) -> None:
        """Raise `UserError` for an image that a server did not send: it may do so the next time."""
        from resmlp.data.shards.index import Index
        from resmlp.data.shards.rows import Rows

        images = self.images.images
        if isinstance(images, Rows) and isinstance(images.packed, Index):
            images.packed.raise_if_not_sent(int(images.rows[i]))

    def checksum(self) -> str:
        """Identifies the images: their paths, labels, sizes and times, in this order. Reads no image."""
        from resmlp.data.images.file_stats import sizes_and_times
        from resmlp.data.shards.rows import Rows

        total, images = blake2b(digest_size=16), self.images.images
        if isinstance(images, Rows):
            rows = images.rows
            total.update(images.packed.digest.encode())
            total.update(rows.tobytes() if isinstance(rows, np.ndarray) else repr(rows).encode())
            return total.hexdigest()
        for i, (size, time) in enumerate(sizes_and_times(images)):
            total.update(f"{self.path(i)}\0{self.labels[i]}\0{size}\0{time}\0".encode(errors="surrogateescape"))
        return total.hexdigest()


class ClassNames(Sequence[str | None]):
    """The name of each label, made when it is asked for; None without classes."""

    def __init__(self, classes: Sequence[str], labels: Sequence[int]):
        self.classes, self.labels = classes, labels

    def __len__(self) -> int:
        return len(self.labels)

    @overload
    def __getitem__(self, i: int) -> str | None: ...

    @overload
    def __getitem__(self, i: slice) -> "ClassNames": ...

    def __getitem__(self, i: int | slice) -> "str | ClassNames | None":
        if isinstance(i, slice):
            return ClassNames(self.classes, self.labels[i])
        label = self.labels[i]  # raises IndexError at the end
        return self.classes[label] if self.classes else None


def open_inputs(root: str, data: LabelTable = NO_TABLE) -> Inputs:
    """All images under `root`, a folder, an archive or a packed data set, in the order of their paths.

    Labels are the class folders, or those of the table in `data`. Raises `UserError`.
    """
    return _tree(root) if data.labels is None else _table(root, data)


def given_inputs(files: "Sequence[str | ImageSource]") -> Inputs:
    """The images themselves, in their order, without labels."""
    from resmlp.data.images.imageset import ImageSet
    from resmlp.imaging.image_file import File

    images = [File(file) if isinstance(file, str) else file for file in files]
    return Inputs(ImageSet((), [0] * len(images), images), [None] * len(images))


def _tree(root: str) -> Inputs:
    """The class folder of an image is the top folder, or in a tree with train/ and val/ the one below."""
    from resmlp.data.checking.layout import find_layout
    from resmlp.data.images.imageset import ImageSet, packed_images
    from resmlp.data.images.trees import open_tree
    from resmlp.data.shards.rows import Entries
    from resmlp.imaging.file_types import ENDINGS

    tree = open_tree(root, flag="PATH")
    demand(bool(tree.whole.images), f"no images in {root}", "images end in " + " ".join(ENDINGS))
    if isinstance(tree.whole.images, Entries):
        packed = packed_images(tree.whole.images)
        return Inputs(replace(packed, classes=()), ClassNames(packed.classes, packed.labels), root)
    names = find_layout(tree).image_classes()
    order = sorted(range(len(names)), key=lambda i: tree.whole.images[i][0])
    images = [tree.whole.images[i][1] for i in order]
    return Inputs(ImageSet((), [0] * len(order), images), [names[i] for i in order], root)


def _table(root: str, data: LabelTable) -> Inputs:
    from resmlp.data.images.imageset import SEPARATOR, ImageSet
    from resmlp.data.images.table_sets import read_table_set

    found = read_table_set(root, str(data.labels), data.columns, "PATH")
    found.raise_for_faults("val-only", "group-leak")
    members = sorted(found.tree.images, key=lambda member: member[0])
    records = [found.records.get(path) for path, _ in members]
    images = ImageSet((), [0] * len(members), [image for _, image in members])
    labels = [None if record is None else SEPARATOR.join(record.classes) for record in records]
    return Inputs(images, labels, root)


def _inner(name: str, root: str) -> str:
    """An image's name without the folder or archive that all are in."""
    if not root:
        return name
    root = str(Path(root).expanduser())
    return name[len(root) + 1 :] if name.startswith((root + "/", root + ":")) else name
