"""What is packed: the images of a data set by split, with their classes and paths, before any division into parts."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import NamedTuple

from resmlp.config import Data
from resmlp.data.images.imageset import ImageSet, check_same_classes, folder_part
from resmlp.data.images.left_out import open_noted_tree
from resmlp.data.images.published_datasets import PUBLISHED_DATASETS
from resmlp.data.images.sources import SEGMENTATION_SOURCES, open_splits
from resmlp.data.images.table_sets import read_table_set
from resmlp.data.images.trees import SplitTree
from resmlp.data.images.unlabeled import all_images, flat_splits
from resmlp.data.masks.maskset import FilePair
from resmlp.data.masks.trees import is_mask_tree, open_mask_tree
from resmlp.utils.checks import demand
from resmlp.utils.errors import UserError


class Part(NamedTuple):
    """The images of a split."""

    name: str
    """train, val, or all of a data set that is not divided; with masks that of the source, or empty"""
    folder: str
    """what the paths of its images begin with, with '/' at the end; may be empty"""
    images: ImageSet
    """its paths are FOLDER CLASS/any/where, or without classes FOLDER any/where"""
    pairs: Sequence[FilePair] = ()
    """each image with its mask, if there are masks"""


class PackSource(NamedTuple):
    """A data set."""

    classes: tuple[str, ...]
    parts: tuple[Part, ...]
    notes: tuple[str, ...]
    """what is left out"""
    lists: Mapping[str, str] = MappingProxyType({})
    """the files with the names and colors of the classes of masks, from name to text"""


def open_source(data: Data) -> PackSource:
    """The images that `data` names. Raises `UserError`, also for several labels, groups and weights.

    Images without class folders have no classes; images with masks are found by their folders.
    """
    found = data.source == "folder" and data.labels is None and data.root is not None and is_mask_tree(data.root)
    if found or data.source in SEGMENTATION_SOURCES:
        return _masks(data)
    published = PUBLISHED_DATASETS.get(data.source)
    if data.labels is not None:
        return _table(data)
    if data.source == "folder" or (published and data.root is not None and published.find_root(data) is None):
        return _tree(str(data.root))
    train, val = open_splits(data)
    return PackSource(train.classes, (_part("train", train), _part("val", val)), train.notes)


def _tree(root: str) -> PackSource:
    found, notes = open_noted_tree(root, "PATH")
    if _is_flat(found):
        return PackSource((), _flat_parts(found), notes)
    named = [(name, tree) for name, tree in (("train", found.train), ("val", found.val)) if tree]
    trees = named or [("all", found.whole)]
    parts = tuple(Part(name, found.prefix(tree), folder_part(found, tree)) for name, tree in trees)
    for (_, first), (_, second), one, other in zip(trees, trees[1:], parts, parts[1:]):
        check_same_classes(first.root, set(one.images.classes), second.root, set(other.images.classes))
    return PackSource(parts[0].images.classes, parts, notes)


def _is_flat(found: SplitTree) -> bool:
    """Whether no image is in a class folder: all are directly in the root, or in train/ and val/."""
    tree = found.whole
    names = tree.folders()
    flat = not names or bool(flat_splits(tree) and not any(tree.subtree(name).folders() for name in names))
    return flat and bool(tree.images) and not found.train and not found.val


def _flat_parts(found: SplitTree) -> tuple[Part, ...]:
    splits = flat_splits(found.whole)
    named = list(zip(("train", "val"), splits)) if splits else [("all", found.whole)]
    return tuple(Part(name, found.prefix(tree), all_images(found, tree)) for name, tree in named)


def _masks(data: Data) -> PackSource:
    demand(data.source != "scenes", "--data.source scenes has no files: it is drawn", "give a folder with masks")
    demand(data.labels is None, f"--data.labels {data.labels}: masks are the labels", "leave it out")
    tree = open_mask_tree(str(data.root), "PATH")
    opened = {name: split.pairs(tree.root) for name, split in tree.splits.items()}
    notes = (*tree.notes, *(note for _, own in opened.values() for note in own))
    parts = tuple(_mask_part(name, pairs) for name, (pairs, _) in opened.items())
    lists = {name: "\n".join(tree.lists.lines(name)) for name in tree.lists.contents}
    return PackSource((), parts, notes, lists)


def _mask_part(name: str, pairs: Sequence[FilePair]) -> Part:
    paths = tuple(pair.path for pair in pairs)
    images = ImageSet((), [0] * len(pairs), [pair.image for pair in pairs], paths)
    return Part(name, paths[0].rpartition("/")[0] + "/", images, pairs)


def _table(data: Data) -> PackSource:
    """The images of a table, whose further splits are left out."""
    found = read_table_set(str(data.root), str(data.labels), data.columns, "PATH")
    found.raise_for_faults()
    images = found.images()
    for values, what in ((images.label_sets, "several labels, or none, for an image"), (images.groups, "groups")):
        demand(not values, f"{found.path} has {what}, which a packed data set cannot hold", "train on PATH itself")
    demand(not images.weights, f"{found.path} has weights, which a packed data set cannot hold", "train on PATH itself")
    splits = {"train": found.splits("train"), "val": found.splits("val")[:1]}
    if not found.splits():
        return PackSource(images.classes, (_part("all", images),), images.notes)
    parts = [_part(name, found.images(lambda record: record.split in own)) for name, own in splits.items() if own]  # noqa: B023
    further = len(images) - sum(len(part.images) for part in parts)
    notes = (f"left out: {further:,} images of further splits of {found.path}",) * bool(further)
    return PackSource(images.classes, tuple(parts), (*images.notes, *notes))


def _part(name: str, images: ImageSet) -> Part:
    """Images of another source than a tree: their paths get the folders of a split and of their class."""
    folder = "" if name == "all" else f"{name}/"
    if len(images) == 0:
        raise UserError(f"the split {name} has no images", "check the data set")
    folders = [plain(label.replace("/", "_")) for label in images.classes]
    twice = len(set(folders)) < len(folders)
    demand(not twice, "two classes differ only in a slash or in a dot at the beginning", "rename one of them")
    paths = [f"{folder}{folders[images.labels[i]]}/{images.path(i)}" for i in range(len(images))]
    return Part(name, folder, replace(images, paths=tuple(paths)))


def plain(name: str) -> str:
    """A name of a folder or file that is not hidden, and leads nowhere else."""
    return f"_{name[1:]}" if name.startswith(".") or not name else name
