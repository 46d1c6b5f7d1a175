"""Images for self-supervised training, with their labels if there are any."""

from dataclasses import replace
from typing import NamedTuple

from resmlp.config import Data
from resmlp.data.images.image_list import ImageList, restore
from resmlp.data.images.imageset import ImageSet, take_fraction
from resmlp.data.images.left_out import open_noted_tree
from resmlp.data.images.sources import open_splits
from resmlp.data.images.split_names import folders_of
from resmlp.data.images.tree_files import Tree
from resmlp.data.images.trees import SplitTree, class_folders
from resmlp.utils.errors import UserError


class Collection(NamedTuple):
    """Training images, and a validation set if the labels are known."""

    train: ImageSet
    val: ImageSet | None
    """has the classes of `train`; None if there are no labels: then all labels of `train` are 0"""
    why: str = ""
    """why there are no labels, and which folder the training images come from"""


def open_collection(data: Data, labels: bool = True, kept: ImageList | None = None) -> Collection:
    """The splits of `data` as `open_splits` gives them; without labels, all images under the root.

    Labels are not used if `labels` is False or if `open_splits` raises `UserError`. Then a tree with a train/ of
    folders, or with train/ and val/, gives only the images of train/, and `data.fraction` is a fraction of all images.
    `kept` is the list of a run that continues, as for `open_splits`. Raises `UserError` if there are no images.
    """
    if kept and kept.val:
        labels = True
    not_requested = "labels were not requested"
    if data.source != "folder" or data.root is None:
        splits = open_splits(data, kept)
        return Collection(*splits) if labels else Collection(splits.train, None, not_requested)
    why = not_requested
    if labels:
        try:
            return Collection(*open_splits(data, kept))
        except UserError as error:
            if kept and kept.val:
                raise
            why = error.what
    found, notes = open_noted_tree(data.root)
    train = found.train
    if not train and (train := _flat_train_folder(found.whole)) and labels:
        why = f"{train.root} has no class folders"
    everything = replace(_all_images(found, train or found.whole), notes=notes)
    images = restore(kept, everything, data).train if kept else take_fraction(everything, data)
    return Collection(images, None, f"{why}; only the images of {train.root} are used" if train else why)


def _flat_train_folder(tree: Tree) -> Tree | None:
    """A train/ of images without folders, if there is a val/ next to it; without val/, train may be a class."""
    train, val = (folders_of(role, tree.folders()) for role in ("train", "val"))
    return tree.subtree(train[0]) if train and val else None


def _all_images(found: SplitTree, tree: Tree) -> ImageSet:
    if not tree.images:
        class_folders(tree)  # raises an error that lists what the tree contains
    members = sorted(tree.images, key=lambda item: item[0])  # the order of the disk is arbitrary
    paths = tuple(found.prefix(tree) + path for path, _ in members)
    return ImageSet((), [0] * len(members), [image for _, image in members], paths)
