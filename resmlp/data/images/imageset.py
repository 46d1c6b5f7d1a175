"""Labeled images, from trees of class folders and from archives."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from resmlp.config import Data
from resmlp.config.preprocessing import Decoding
from resmlp.data.images.dividing import (
    LEFT_OUT,
    Items,
    check_apart,
    choose_fraction,
    choose_held,
    find_groups,
    needed_in_training,
)
from resmlp.data.images.indexed_sets import all_fields, part_fields
from resmlp.data.images.indexed_tree import IndexedTree
from resmlp.data.images.left_out import open_noted_tree
from resmlp.data.images.tree_files import Tree, short_list, sort_classes
from resmlp.data.images.trees import SplitTree, class_folders
from resmlp.data.shards.rows import Entries, Labels, Paths, chosen, joined
from resmlp.data.shards.rows import Images as PackedImages
from resmlp.imaging.image_file import ImageSource, content_mark, with_decoding
from resmlp.utils.checks import demand
from resmlp.utils.errors import UserError

SEPARATOR = "|"
"""between the classes of an image with several labels, in files and in messages"""


@dataclass(frozen=True)
class ImageSet:
    """Images and their labels; safe to pickle and to fork."""

    classes: tuple[str, ...]
    """the name of each label"""
    labels: Sequence[int]
    images: Sequence[ImageSource]
    paths: Sequence[str] = ()
    """the path of each image in the data set, which identifies it; empty: its name does"""
    notes: tuple[str, ...] = ()
    """messages for the user, to show before training"""
    unused: Sequence[str] = ()
    """the paths of the images that neither part has: `data.fraction` or `data.folds` leaves them out, or they are of a
    further split"""
    groups: tuple[str, ...] = ()
    """the group of each image: all images of a group are on one side of a split; empty: each image is its own"""
    weights: tuple[float, ...] = ()
    """the weight of each image in the loss; empty: 1 for all"""
    label_sets: tuple[tuple[int, ...], ...] = ()
    """all labels of each image, ascending, where an image may have several or none; empty: `labels` has the only one"""

    def __len__(self) -> int:
        return len(self.images)

    def name(self, i: int) -> str:
        """The path of image `i`, or its archive and its path there, for messages."""
        return self.images[i].name

    def path(self, i: int) -> str:
        """What identifies image `i`: its path in the data set, wherever that is, or its name."""
        return self.paths[i] if self.paths else self.name(i)

    def all_paths(self) -> Sequence[str]:
        """What identifies each image."""
        return self.paths or tuple(map(self.name, range(len(self))))

    def content(self, i: int) -> str:
        """A short mark of the content of image `i` (`content_mark`); empty if it is gone."""
        return content_mark(self.images[i])

    def read(self, i: int) -> Image.Image:
        """Image `i` as RGB; raises `UnreadableImage`."""
        return self.images[i].read()

    def labels_of(self, i: int) -> tuple[int, ...]:
        """All labels of image `i`, ascending: none, one or several."""
        return self.label_sets[i] if self.label_sets else (self.labels[i],)

    def class_names(self, i: int) -> str:
        """The class of image `i`, or all its classes as a list writes them; empty without classes."""
        return SEPARATOR.join(self.classes[label] for label in self.labels_of(i)) if self.classes else ""

    def subset(self, indices: Iterable[int]) -> "ImageSet":
        """The images of these indices, in this order, with the same classes."""
        places = np.fromiter(indices, np.int64)
        columns = ("labels", "images", "paths", "groups", "weights", "label_sets")
        return replace(self, **chosen({name: getattr(self, name) for name in columns}, places))

    def joined(self, other: "ImageSet") -> "ImageSet":
        """The images of both, which have the same classes, without groups, weights and sets of labels."""
        columns = ("labels", "images", "paths")
        values: dict[str, Any] = {name: joined(getattr(self, name), getattr(other, name)) for name in columns}
        return replace(self, **values)

    def decoded(self, decoding: Decoding) -> "ImageSet":
        """The same images, decoded so."""
        if isinstance(self.images, PackedImages):
            return replace(self, images=self.images.decoded(decoding))
        if all(getattr(image, "decoding", decoding) == decoding for image in self.images):
            return self
        return replace(self, images=[with_decoding(image, decoding) for image in self.images])

    def indices_by_class(self) -> list[np.ndarray]:
        """The indices of the images of each label, from label 0, int64; a set without classes is one class."""
        labels = np.asarray(self.labels, np.int32)
        counts = np.bincount(labels, minlength=len(self.classes) or 1)
        return np.split(np.argsort(labels, kind="stable"), np.cumsum(counts)[:-1])


class Splits(NamedTuple):
    """The training set and the validation set, with the same classes."""

    train: ImageSet
    val: ImageSet


def folder_splits(data: Data) -> Splits:
    """The splits of the tree at `data.root`; a tree without val/ is split by `split`.

    Raises `UserError` if the root is missing, empty or has no class folders, if it has a single class, and if the
    classes of train and val differ.
    """
    found, notes = open_noted_tree(str(data.root), strict=data.strict)
    train, val, whole = found
    if val and not train:
        hint = "add a train/ folder, or give a tree without val/ to split it"
        raise UserError(f"{val.root} has no train/ folder next to it", hint)
    tree = train or whole
    images = replace(folder_part(found, tree), notes=notes)
    if len(images.classes) == 1:
        hint = f"each folder in {tree.root} is a class; are the class folders one level deeper?"
        raise UserError(f"{tree.root} has a single class, {images.classes[0]}", hint)
    if not val:
        return split(images, data)
    val_images = folder_part(found, val)
    check_same_classes(tree.root, set(images.classes), val.root, set(val_images.classes))
    return Splits(images, val_images)


def folder_eval(data: Data) -> ImageSet:
    """The val/ folder of the tree at `data.root`, or the whole tree if it has no splits; one class is enough."""
    found, notes = open_noted_tree(str(data.root), strict=data.strict)
    train, val, whole = found
    if train and not val:
        hint = f"to evaluate on the training images, give --data.root {train.root}"
        raise UserError(f"{train.root} has no val/ folder next to it", hint)
    return replace(folder_part(found, val or whole), notes=notes)


def folder_train(data: Data, flag: str = "--data.root") -> ImageSet:
    """The train/ folder of the tree at `data.root`, or the whole tree if it has no splits.

    Raises `UserError`, with `flag` as the name of the option.
    """
    found, notes = open_noted_tree(str(data.root), flag, data.strict)
    train, val, whole = found
    if val and not train:
        raise UserError(f"{val.root} has no train/ folder next to it", "give a tree with training images")
    return replace(folder_part(found, train or whole), notes=notes)


def folder_images(data: Data) -> ImageSet:
    """All images in class folders of the tree at `data.root`, of all splits; does not check the classes."""
    found, notes = open_noted_tree(str(data.root), strict=data.strict)
    if isinstance(found.whole.images, Entries):
        return replace(packed_images(found.whole.images), notes=notes)
    if isinstance(found.whole, IndexedTree):
        return ImageSet(**all_fields(found), notes=notes)
    trees = [tree for tree in (found.train, found.val) if tree] or [found.whole]
    inside = [(found.prefix(tree) + path, path, image) for tree in trees for path, image in tree.images if "/" in path]
    classes = tuple(sort_classes({path.partition("/")[0] for _, path, _ in inside}))
    labels = {name: label for label, name in enumerate(classes)}
    return ImageSet(
        classes,
        [labels[path.partition("/")[0]] for _, path, _ in inside],
        [image for *_, image in inside],
        tuple(path for path, *_ in inside),
        notes,
    )


def folder_part(found: SplitTree, tree: Tree) -> ImageSet:
    """The images in the class folders of the whole tree, or of one of its splits."""
    if isinstance(tree.images, Entries):
        hint = "resmlp train dino, embed and predict need none"
        hint = "it is for segmentation: --data.source masks" if tree.images.packed.masks else hint
        demand(bool(tree.images.packed.classes), f"{found.whole.root} was packed without classes", hint)
        return packed_images(tree.images)
    if isinstance(tree, IndexedTree):
        return ImageSet(**part_fields(found, tree))
    classes, prefix = class_folders(tree), found.prefix(tree)
    labels = [label for label, images in enumerate(classes.values()) for _ in images]
    members = [member for images in classes.values() for member in images]
    return ImageSet(
        tuple(classes), labels, [image for _, image in members], tuple(prefix + path for path, _ in members)
    )


def packed_images(entries: Entries) -> ImageSet:
    """The images of some rows of a packed data set."""
    index, rows = entries.packed, entries.rows
    return ImageSet(index.classes, Labels(index, rows), PackedImages(index, rows), Paths(index, rows))


def check_same_classes(train: str, train_classes: set[str], val: str, val_classes: set[str]) -> None:
    """Raise `UserError` if train and val have different classes.

    A label is a position in the list of classes: one missing class would silently shift all labels after it.
    """
    missing = ((val, train_classes - val_classes), (train, val_classes - train_classes))
    if train_classes != val_classes:
        what = " and ".join(f"{root} lacks {short_list(classes)}" for root, classes in missing if classes)
        raise UserError(f"the classes of train and val differ: {what}", "both need images of the same classes")


def split(images: ImageSet, data: Data) -> Splits:
    """Hold out `val_fraction` of each class, by whole groups; with `data.folds` nothing, which `divided` does.

    Raises `UserError` if a class cannot be on both sides.
    """
    images = with_groups(images, data)
    return Splits(images, images.subset(())) if data.folds else _hold_out(images, data)


def divided(splits: Splits, data: Data) -> Splits:
    """The `splits` of a source with groups, all images of a group on one side.

    With `data.folds`, the training set is divided into folds, and the given validation set is left out. Raises
    `UserError` if a group is on both sides, and if a class cannot be.
    """
    train, val = (with_groups(images, data) for images in splits)
    if not data.folds:
        check_apart(train.groups, val.groups)
        return Splits(train, val)
    kept, held = _hold_out(train, data)
    notes = [LEFT_OUT.format(len(train), len(val))]
    present = set(held.labels)
    missing = [name for label, name in enumerate(held.classes) if label not in present]
    lacks = [f"fold {data.fold} has no validation image of {short_list(missing)}"] * bool(missing)
    notes = notes * bool(len(val)) + lacks * bool(held.labels and not held.label_sets)
    unused = joined(kept.unused, val.all_paths())
    return Splits(replace(kept, notes=(*kept.notes, *notes), unused=unused), held)


def with_groups(images: ImageSet, data: Data) -> ImageSet:
    """The images with the groups of `data.group_by`, if it is given. Raises `UserError`."""
    if data.group_by is None:
        return images
    return replace(images, groups=find_groups(images.all_paths(), data.group_by))


def _hold_out(images: ImageSet, data: Data) -> Splits:
    paths, is_held = images.all_paths(), np.zeros(len(images), bool)
    if images.label_sets:  # of several labels, each may be in few images
        items = Items(paths, images.groups)
        held = choose_held(items, data)
        if not data.folds:  # each image is in the validation set of one fold
            held -= needed_in_training(items, images.label_sets, held)
        demand(bool(held), f"each {items.unit} has the only images of a class", "add images, or name the split of each")
    else:
        held = choose_held(Items(paths, images.groups, images.labels, images.classes), data)
    is_held[np.fromiter(held, np.int64)] = True
    train, val = (images.subset(np.flatnonzero(is_held == side)) for side in (False, True))
    return Splits(train, replace(val, notes=()))


def take_fraction(images: ImageSet, data: Data) -> ImageSet:
    """Keep `data.fraction` of the images of each class, at least one, in their order; 1 keeps all.

    The choice is a function of `data.split_seed` and of the images' paths, and a smaller fraction is a subset of a
    larger one.
    """
    if data.fraction == 1:
        return images
    kept = np.zeros(len(images), bool)
    for indices in images.indices_by_class():
        kept[choose_fraction([images.path(i) for i in indices.tolist()], indices.tolist(), data)] = True
    own, unused = (images.subset(np.flatnonzero(kept == side)) for side in (True, False))
    return replace(own, unused=joined(images.unused, unused.all_paths()))
