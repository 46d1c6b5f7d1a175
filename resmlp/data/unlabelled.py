"""Pictures for training that needs no labels, with them where there are some."""

from typing import NamedTuple

from resmlp.config import Data
from resmlp.data.images import ImageSet, share
from resmlp.data.sources import open_splits
from resmlp.data.trees import class_folders, open_tree
from resmlp.errors import UserError


class Collection(NamedTuple):
    """Pictures to learn from, and those held out where labels are known."""

    train: ImageSet
    val: ImageSet | None
    """of the classes of `train`; None: there are no labels, and those of `train` are all 0"""
    why: str = ""
    """why there are none"""


def open_collection(data: Data, labels: bool = True) -> Collection:
    """The pictures of `data` as `open_splits` divides them; where it cannot, all under the root, whatever their folder.

    So it is with `labels` False. A tree with a train/ of folders gives the pictures of that alone. Without labels
    `data.fraction` is a share of all. Raises `UserError` where there are no pictures.
    """
    if data.source != "folder" or data.root is None:
        train, val = open_splits(data)
        return Collection(train, val) if labels else Collection(train, None, "not asked for")
    why = "not asked for"
    if labels:
        try:
            return Collection(*open_splits(data))
        except UserError as error:
            why = error.what
    return Collection(share(_all_pictures(data.root), data), None, why)


def _all_pictures(root: str) -> ImageSet:
    train, _, whole = open_tree(root)
    tree = train or whole
    if not tree.pictures:
        class_folders(tree)  # says what there is instead
    pictures = [picture for _, picture in sorted(tree.pictures, key=lambda item: item[0])]  # not as the disk lists them
    return ImageSet((), [0] * len(pictures), pictures)
