"""Labeled images, from trees of class folders, from archives, and from scikit-learn's digits."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from PIL import Image

from resmlp.config import Data
from resmlp.config.preprocessing import Decoding
from resmlp.data.images.trees import Tree, class_folders, open_tree, short_list
from resmlp.imaging.image_file import ImageSource, Pixels, with_decoding
from resmlp.utils.errors import UserError

DIGITS_VAL = 360  # of 1,797
FRACTION_STREAM = 1  # part of the random key of `take_fraction`, so that its order differs from that of the split


@dataclass(frozen=True)
class ImageSet:
    """Images and their labels; safe to pickle and to fork."""

    classes: tuple[str, ...]
    """the name of each label"""
    labels: list[int]
    images: list[ImageSource]

    def __len__(self) -> int:
        return len(self.images)

    def name(self, i: int) -> str:
        """The path of image `i`, or its archive and its path there, for messages."""
        return self.images[i].name

    def read(self, i: int) -> Image.Image:
        """Image `i` as RGB; raises `UnreadableImage`."""
        return self.images[i].read()

    def subset(self, indices: Iterable[int]) -> "ImageSet":
        """The images of these indices, in this order, with the same classes."""
        indices = list(indices)
        return ImageSet(self.classes, [self.labels[i] for i in indices], [self.images[i] for i in indices])

    def decoded(self, decoding: Decoding) -> "ImageSet":
        """The same images, decoded so."""
        if all(getattr(image, "decoding", decoding) == decoding for image in self.images):
            return self
        return replace(self, images=[with_decoding(image, decoding) for image in self.images])

    def indices_by_class(self) -> list[list[int]]:
        """The indices of the images of each label, from label 0; a set without classes is one class."""
        indices: list[list[int]] = [[] for _ in self.classes or ("",)]
        for i, label in enumerate(self.labels):
            indices[label].append(i)
        return indices


class Splits(NamedTuple):
    """The training set and the validation set, with the same classes."""

    train: ImageSet
    val: ImageSet


def folder_splits(data: Data) -> Splits:
    """The splits of the tree at `data.root`; a tree without val/ is split by `val_fraction` and `split_seed`.

    Raises `UserError` if the root is missing, empty or has no class folders, if it has a single class, and if the
    classes of train and val differ.
    """
    train, val, whole = open_tree(str(data.root))
    if val and not train:
        hint = "add a train/ folder, or give a tree without val/ to split it"
        raise UserError(f"{val.root} has no train/ folder next to it", hint)
    tree = train or whole
    images = _images(tree)
    if len(images.classes) == 1:
        hint = f"each folder in {tree.root} is a class; are the class folders one level deeper?"
        raise UserError(f"{tree.root} has a single class, {images.classes[0]}", hint)
    if not val:
        return _split(images, data)
    val_images = _images(val)
    check_same_classes(tree.root, set(images.classes), val.root, set(val_images.classes))
    return Splits(images, val_images)


def folder_eval(data: Data) -> ImageSet:
    """The val/ folder of the tree at `data.root`, or the whole tree if it has no splits; one class is enough."""
    train, val, whole = open_tree(str(data.root))
    if train and not val:
        hint = f"to evaluate on the training images, give --data.root {train.root}"
        raise UserError(f"{train.root} has no val/ folder next to it", hint)
    return _images(val or whole)


def folder_train(data: Data, flag: str = "--data.root") -> ImageSet:
    """The train/ folder of the tree at `data.root`, or the whole tree if it has no splits.

    Raises `UserError`, with `flag` as the name of the option.
    """
    train, val, whole = open_tree(str(data.root), flag=flag)
    if val and not train:
        raise UserError(f"{val.root} has no train/ folder next to it", "give a tree with training images")
    return _images(train or whole)


def _images(tree: Tree) -> ImageSet:
    classes = class_folders(tree)
    labels = [label for label, images in enumerate(classes.values()) for _ in images]
    return ImageSet(tuple(classes), labels, [image for images in classes.values() for image in images])


def check_same_classes(train: str, train_classes: set[str], val: str, val_classes: set[str]) -> None:
    """Raise `UserError` if train and val have different classes.

    A label is a position in the list of classes: one missing class would silently shift all labels after it.
    """
    missing = ((val, train_classes - val_classes), (train, val_classes - train_classes))
    if train_classes != val_classes:
        what = " and ".join(f"{root} lacks {short_list(classes)}" for root, classes in missing if classes)
        raise UserError(f"the classes of train and val differ: {what}", "both need images of the same classes")


def _split(images: ImageSet, data: Data) -> Splits:
    """Take the same fraction of each class as validation set: at least one image, and not all images."""
    by_class = images.indices_by_class()
    if single := [name for name, indices in zip(images.classes, by_class) if len(indices) < 2]:
        what = f"a class with one image cannot be split: {short_list(single)}"
        raise UserError(what, "add images, or give the tree a val/ folder")
    train, val = [], []
    for label, indices in enumerate(by_class):
        order = np.random.default_rng([data.split_seed, label]).permutation(indices).tolist()
        count = min(max(1, round(data.val_fraction * len(indices))), len(indices) - 1)
        val += sorted(order[:count])
        train += sorted(order[count:])
    return Splits(images.subset(train), images.subset(val))


def take_fraction(images: ImageSet, data: Data) -> ImageSet:
    """Keep `data.fraction` of the images of each class, at least one, in their order; 1 keeps all.

    The choice is a function of `data.split_seed`, and a smaller fraction is a subset of a larger one.
    """
    if data.fraction == 1:
        return images
    kept: list[int] = []
    for label, indices in enumerate(images.indices_by_class()):
        order = np.random.default_rng([data.split_seed, label, FRACTION_STREAM]).permutation(indices).tolist()
        kept += order[: max(1, round(data.fraction * len(indices)))]
    return images.subset(sorted(kept))


def digits_splits(data: Data) -> Splits:
    """scikit-learn's 1,797 gray digits of 8x8 pixels with values 0 to 16; 360 of them are the validation set."""
    from sklearn.datasets import load_digits  # the import takes over a second
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    pixels = (digits.images * (255 / 16)).round().astype(np.uint8)
    images: list[ImageSource] = [Pixels(f"digit {i}", image) for i, image in enumerate(pixels)]
    digits_ = ImageSet(tuple("0123456789"), digits.target.tolist(), images)
    train, val = train_test_split(
        range(len(digits_)), test_size=DIGITS_VAL, stratify=digits_.labels, random_state=data.split_seed
    )
    return Splits(digits_.subset(sorted(train)), digits_.subset(sorted(val)))
