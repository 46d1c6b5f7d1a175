"""Images for self-supervised training, with their labels if there are any."""

from typing import NamedTuple

from resmlp.config import Data
from resmlp.data.images.imageset import ImageSet, take_fraction
from resmlp.data.images.sources import open_splits
from resmlp.data.images.trees import TRAIN_FOLDERS, VAL_FOLDERS, Tree, class_folders, open_tree
from resmlp.utils.errors import UserError


class Collection(NamedTuple):
    """Training images, and a validation set if the labels are known."""

    train: ImageSet
    val: ImageSet | None
    """has the classes of `train`; None if there are no labels: then all labels of `train` are 0"""
    why: str = ""
    """why there are no labels, and which folder the training images come from"""


def open_collection(data: Data, labels: bool = True) -> Collection:
    """The splits of `data` as `open_splits` gives them; without labels, all images under the root.

    Labels are not used if `labels` is False or if `open_splits` raises `UserError`. Then a tree with a train/ of
    folders, or with train/ and val/, gives only the images of train/, and `data.fraction` is a fraction of all images.
    Raises `UserError` if there are no images.
    """
    not_requested = "labels were not requested"
    if data.source != "folder" or data.root is None:
        splits = open_splits(data)
        return Collection(*splits) if labels else Collection(splits.train, None, not_requested)
    why = not_requested
    if labels:
        try:
            return Collection(*open_splits(data))
        except UserError as error:
            why = error.what
    train, _, whole = open_tree(data.root)
    if not train and (train := _flat_train_folder(whole)) and labels:
        why = f"{train.root} has no class folders"
    images = take_fraction(_all_images(train or whole), data).decoded(data.decoding)
    return Collection(images, None, f"{why}; only the images of {train.root} are used" if train else why)


def _flat_train_folder(tree: Tree) -> Tree | None:
    """A train/ of images without folders, if there is a val/ next to it; without val/, train may be a class."""
    folders = {folder.lower(): folder for folder in tree.folders()}
    name = TRAIN_FOLDERS[0]
    return tree.subtree(folders[name]) if name in folders and not folders.keys().isdisjoint(VAL_FOLDERS) else None


def _all_images(tree: Tree) -> ImageSet:
    if not tree.images:
        class_folders(tree)  # raises an error that lists what the tree contains
    images = [image for _, image in sorted(tree.images, key=lambda item: item[0])]  # the order of the disk is arbitrary
    return ImageSet((), [0] * len(images), images)
