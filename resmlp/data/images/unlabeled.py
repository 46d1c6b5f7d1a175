"""Images for self-supervised training, with their labels if there are any."""

from dataclasses import replace
from typing import NamedTuple

from resmlp.config import Data
from resmlp.data.images.image_list import ImageList, restore
from resmlp.data.images.imageset import ImageSet, packed_images, take_fraction
from resmlp.data.images.indexed_sets import unlabeled_fields
from resmlp.data.images.indexed_tree import IndexedTree
from resmlp.data.images.left_out import open_noted_tree
from resmlp.data.images.sources import open_splits
from resmlp.data.images.split_names import folders_of
from resmlp.data.images.tree_files import Tree
from resmlp.data.images.trees import SplitTree, class_names
from resmlp.data.shards.rows import Entries, StepLabels, Steps
from resmlp.utils.checks import demand
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
    Raises `UserError` if there are no images, and if groups or folds are requested but there is no validation set.
    """
    not_requested = "labels were not requested"
    divides = bool(data.group_by or data.folds)
    what = "--data.group-by and --data.folds choose a validation set, which needs labels"
    demand(labels or not divides, f"{what}: {not_requested}", "leave them out")
    if data.source != "folder" or data.root is None or data.labels is not None:
        splits = open_splits(data)
        if splits.train.label_sets:
            return Collection(splits.train, None, "an image may have several labels")
        return Collection(*splits) if labels else Collection(splits.train, None, not_requested)
    why = not_requested
    if labels:
        try:
            return Collection(*open_splits(data))
        except UserError as error:
            if divides:
                raise
            why = error.what
    images, train = _unlabeled_images(data)
    if train and not train.folders() and labels:
        why = f"{train.root} has no class folders"
    kept = take_fraction(images, data).decoded(data.decoding)
    return Collection(kept, None, f"{why}; only the images of {train.root} are used" if train else why)


def reopen_collection(data: Data, kept: ImageList) -> Collection:
    """The images in the list of a run that continues. Raises `UserError` if `data` has other images."""
    if kept.pinned:
        collection = open_collection(data, labels=kept.pinned.val > 0)
        kept.pinned.check(collection.train, collection.val, data.root)
        return collection
    why = "labels were not used before"
    if data.source == "folder" and data.root is not None and data.labels is None and not kept.val:
        return Collection(restore(kept, _unlabeled_images(data)[0], data).train.decoded(data.decoding), None, why)
    splits = open_splits(data, kept)
    return Collection(*splits) if kept.val else Collection(splits.train, None, why)


def _unlabeled_images(data: Data) -> tuple[ImageSet, Tree | None]:
    """The images of train/, if there is a train/, or all images; and train/."""
    found, notes = open_noted_tree(str(data.root), strict=data.strict)
    train = found.train or (flat_splits(found.whole) or (None,))[0]
    return replace(all_images(found, train or found.whole), notes=notes), train


def flat_splits(tree: Tree) -> tuple[Tree, Tree] | None:
    """train/ and val/ of images without folders; without one of them, the other may be a class."""
    train, val = (folders_of(role, tree.folders()) for role in ("train", "val"))
    return (tree.subtree(train[0]), tree.subtree(val[0])) if train and val else None


def all_images(found: SplitTree, tree: Tree) -> ImageSet:
    """The images of the whole tree or of one of its splits, in the order of their paths, without classes."""
    if isinstance(tree.images, Entries):
        labels = StepLabels(tree.images.packed, tree.images.rows, Steps.of([(range(len(tree.images.packed)), 0)]))
        return replace(packed_images(tree.images), classes=(), labels=labels)
    if not tree.images:
        class_names(tree)  # raises an error that lists what the tree contains
    if isinstance(tree, IndexedTree):
        return ImageSet(**unlabeled_fields(found, tree))
    members = sorted(tree.images, key=lambda item: item[0])  # the order of the disk is arbitrary
    paths = tuple(found.prefix(tree) + path for path, _ in members)
    return ImageSet((), [0] * len(members), [image for _, image in members], paths)
