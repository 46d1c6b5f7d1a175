"""Labeled images, from trees of class folders and their archives, and from scikit-learn's digits."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from PIL import Image

from resmlp.config import Data
from resmlp.data.images.trees import Tree, class_folders, open_tree, some
from resmlp.imaging.image_file import ImageSource, Pixels
from resmlp.utils.errors import UserError

DIGITS_VAL = 360  # of 1,797
SHARE = 1  # in the key of the random order that a share is taken by, which is not that of holding out


@dataclass(frozen=True)
class ImageSet:
    """Images and their labels; it can be pickled and forked."""

    classes: tuple[str, ...]
    """name of each label"""
    labels: list[int]
    images: list[ImageSource]

    def __len__(self) -> int:
        return len(self.images)

    def name(self, i: int) -> str:
        """Path of image `i`, or archive and member, for messages."""
        return self.images[i].name

    def read(self, i: int) -> Image.Image:
        """Image `i` as RGB; raises `UnreadableImage`, which names it."""
        return self.images[i].read()

    def subset(self, indices: Iterable[int]) -> "ImageSet":
        """The images of these indices, in this order, with the classes of all."""
        indices = list(indices)
        return ImageSet(self.classes, [self.labels[i] for i in indices], [self.images[i] for i in indices])

    def members(self) -> list[list[int]]:
        """The images of each class, those of label 0 first; a set without classes is as one class."""
        members: list[list[int]] = [[] for _ in self.classes or ("",)]
        for i, label in enumerate(self.labels):
            members[label].append(i)
        return members


class Splits(NamedTuple):
    """What is trained on and what is held out, with the same classes."""

    train: ImageSet
    val: ImageSet


def folder_splits(data: Data) -> Splits:
    """The tree at `data.root`, as it is divided or, class by class, by `val_fraction` and `split_seed`.

    Raises `UserError` for a root that is missing, empty or no tree of class folders, for a single class, and where the
    classes of train and val differ.
    """
    train, val, whole = open_tree(str(data.root))
    if val and not train:
        raise UserError(f"{val.where} has no train/ beside it", "add train/, or give one tree without val/ to split")
    tree = train or whole
    images = _images(tree)
    if len(images.classes) == 1:
        hint = f"a class is a folder of {tree.where}; is the tree one folder further down?"
        raise UserError(f"{tree.where} holds a single class, {images.classes[0]}", hint)
    if not val:
        return _split(images, data)
    held_out = _images(val)
    same_classes(tree.where, set(images.classes), val.where, set(held_out.classes))
    return Splits(images, held_out)


def folder_eval(data: Data) -> ImageSet:
    """val/ of the tree at `data.root`, or all of one that is not divided; a single class is taken."""
    train, val, whole = open_tree(str(data.root))
    if train and not val:
        raise UserError(f"{train.where} has no val/ beside it", f"to evaluate on it, --data.root {train.where}")
    return _images(val or whole)


def folder_train(data: Data, flag: str = "--data.root") -> ImageSet:
    """train/ of the tree at `data.root`, or all of one that is not divided; raises `UserError`, which says `flag`."""
    train, val, whole = open_tree(str(data.root), flag=flag)
    if val and not train:
        raise UserError(f"{val.where} has no train/ beside it", "give a tree to learn from")
    return _images(train or whole)


def _images(tree: Tree) -> ImageSet:
    classes = class_folders(tree)
    labels = [label for label, images in enumerate(classes.values()) for _ in images]
    return ImageSet(tuple(classes), labels, [image for images in classes.values() for image in images])


def same_classes(train: str, in_train: set[str], val: str, in_val: set[str]) -> None:
    """Refuse train and val of other classes.

    Labels are positions in the list of classes: one class too few would silently shift all that follow.
    """
    lacking = ((val, in_train - in_val), (train, in_val - in_train))
    if in_train != in_val:
        what = " and ".join(f"{where} lacks {some(classes)}" for where, classes in lacking if classes)
        raise UserError(f"the classes differ: {what}", "both must hold images of the same classes")


def _split(images: ImageSet, data: Data) -> Splits:
    """Hold out the same share of each class, at least one image and not all of them."""
    members = images.members()
    if single := [name for name, own in zip(images.classes, members) if len(own) < 2]:
        raise UserError(f"classes of one image cannot be split: {some(single)}", "add images, or a val/ of your own")
    train, val = [], []
    for label, own in enumerate(members):
        order = np.random.default_rng([data.split_seed, label]).permutation(own).tolist()
        count = min(max(1, round(data.val_fraction * len(own))), len(own) - 1)
        val += sorted(order[:count])
        train += sorted(order[count:])
    return Splits(images.subset(train), images.subset(val))


def share(images: ImageSet, data: Data) -> ImageSet:
    """`data.fraction` of the images of each class, one at least, in their order; with 1 all of them.

    They are a function of `data.split_seed`, and a smaller share is a part of a larger one.
    """
    if data.fraction == 1:
        return images
    kept: list[int] = []
    for label, own in enumerate(images.members()):
        order = np.random.default_rng([data.split_seed, label, SHARE]).permutation(own).tolist()
        kept += order[: max(1, round(data.fraction * len(own)))]
    return images.subset(sorted(kept))


def digits_splits(data: Data) -> Splits:
    """1,797 gray 8x8 digits with values 0 to 16 (scikit-learn), 360 of them held out."""
    from sklearn.datasets import load_digits  # over a second
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    pixels = (digits.images * (255 / 16)).round().astype(np.uint8)
    images: list[ImageSource] = [Pixels(f"digit {i}", image) for i, image in enumerate(pixels)]
    digits_ = ImageSet(tuple("0123456789"), digits.target.tolist(), images)
    train, val = train_test_split(
        range(len(digits_)), test_size=DIGITS_VAL, stratify=digits_.labels, random_state=data.split_seed
    )
    return Splits(digits_.subset(sorted(train)), digits_.subset(sorted(val)))
