"""Images for training that needs no labels, with them where there are some."""

from typing import NamedTuple

from resmlp.config import Data
from resmlp.data.images.imageset import ImageSet, share
from resmlp.data.images.sources import open_splits
from resmlp.data.images.trees import TRAIN, VAL, Tree, class_folders, open_tree
from resmlp.utils.errors import UserError


class Collection(NamedTuple):
    """Images to learn from, and those held out where labels are known."""

    train: ImageSet
    val: ImageSet | None
    """of the classes of `train`; None: there are no labels, and those of `train` are all 0"""
    why: str = ""
    """why there are none, and which folder alone is learned from"""


def open_collection(data: Data, labels: bool = True) -> Collection:
    """The images of `data` as `open_splits` divides them; where it cannot, all under the root, whatever their folder.

    So it is with `labels` False. A tree with a train/ of folders, or with train/ and val/, gives the images of train/
    alone. Without labels `data.fraction` is a share of all. Raises `UserError` where there are no images.
    """
    if data.source != "folder" or data.root is None:
        splits = open_splits(data)
        return Collection(*splits) if labels else Collection(splits.train, None, "not asked for")
    why = "not asked for"
    if labels:
        try:
            return Collection(*open_splits(data))
        except UserError as error:
            why = error.what
    train, _, whole = open_tree(data.root)
    if not train and (train := _bare_train(whole)) and labels:
        why = f"{train.where} has no class folders"
    images = share(_all_images(train or whole), data)
    return Collection(images, None, f"{why}; {train.where} alone is learned from" if train else why)


def _bare_train(tree: Tree) -> Tree | None:
    """A train/ without folders, where val/ is beside it: else it may be a class of vehicles."""
    found = {folder.lower(): folder for folder in tree.folders()}
    return tree.inside(found[TRAIN[0]]) if TRAIN[0] in found and not found.keys().isdisjoint(VAL) else None


def _all_images(tree: Tree) -> ImageSet:
    if not tree.images:
        class_folders(tree)  # says what there is instead
    images = [image for _, image in sorted(tree.images, key=lambda item: item[0])]  # not as the disk lists them
    return ImageSet((), [0] * len(images), images)
