"""The sources of labeled images: `SOURCES` maps a --data.source to the functions that open it."""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from resmlp.config import Data
from resmlp.data.images.digits import digits_splits
from resmlp.data.images.image_list import ImageList, restore
from resmlp.data.images.imageset import (
    ImageSet,
    Splits,
    divided,
    folder_eval,
    folder_images,
    folder_splits,
    take_fraction,
)
from resmlp.data.images.published_datasets import PUBLISHED_DATASETS
from resmlp.data.images.table_sets import table_eval, table_images, table_splits
from resmlp.imaging.walk import path_in_set
from resmlp.utils.checks import demand
from resmlp.utils.errors import UserError, lookup

SEGMENTATION_SOURCES = ("masks", "camvid", "ade20k", "scenes")
"""values of --data.source with a label for each pixel: `resmlp.data.masks` opens them, and this module refuses them"""


class Source(NamedTuple):
    """The functions that open one kind of data."""

    splits: Callable[[Data], Splits]
    val: Callable[[Data], ImageSet]
    root_hint: str = ""
    """what --data.root must be; empty if the source needs no root"""
    images: Callable[[Data], ImageSet] | None = None
    """all images of both splits, without a check; None: those of `splits`"""


def open_splits(data: Data, kept: ImageList | None = None) -> Splits:
    """The training set and the validation set of `data`.

    A tree with train/ and val/ (or folders with other usual names) is used with these splits. Any other tree is split
    class by class, by `data.val_fraction` and `data.split_seed`, or by `data.folds`; images of a group stay together.
    `data.fraction` of the training images of each class is kept. A table `data.labels` has the labels, and perhaps the
    splits and groups, in place of folders. With the list `kept` of a run that continues, the
    splits are those of the list. Raises `UserError` if the root is missing, empty or has no class folders, if it has a
    single class, if the classes of train and val differ, if a group is on both sides, and if the images are not those
    of the list.
    """
    if kept and not kept.pinned:
        train, val = restore(kept, open_images(data), data)
    else:
        train, val = divided(Splits(*(_with_paths(images, data) for images in _source(data).splits(data))), data)
        train = take_fraction(train, data)
    if kept and kept.pinned:
        kept.pinned.check(train, val, data.root)
    return Splits(train.decoded(data.decoding), val.decoded(data.decoding))


def open_images(data: Data) -> ImageSet:
    """All images of `data`, those of both splits. Raises `UserError`."""
    source = _source(data)
    if source.images:
        return source.images(data)
    train, val = (_with_paths(images, data) for images in source.splits(data))
    return train.joined(val)


def open_eval(data: Data) -> ImageSet:
    """The images to evaluate a model on that was not trained on this root: val/, or a whole tree without splits.

    Raises `UserError` as `open_splits` does, but accepts a single class. If training split the tree itself, the
    validation set is `open_splits(data).val`.
    """
    return _source(data).val(data).decoded(data.decoding)


def count_mismatch(source: str, splits: Splits) -> str:
    """A warning if `splits` has other numbers of images or classes than the published data set; else empty."""
    published = PUBLISHED_DATASETS.get(source)
    if published is None or (len(splits.train), len(splits.val), len(splits.train.classes)) == published.counts:
        return ""
    counts = "{:,} training images, {:,} test images and {:,} classes".format(*published.counts)
    return f"{published.title} was published with {counts}"


def _with_paths(images: ImageSet, data: Data) -> ImageSet:
    """The images with their paths; where a source gives none, these are their names without the root."""
    if images.paths:
        return images
    names = images.all_paths()
    return replace(images, paths=tuple(path_in_set(name.removeprefix(f"{data.root}/")) for name in names))


def _source(data: Data) -> Source:
    what = f"--data.source {data.source} has a label for each pixel, not one for each image"
    hint = f"use a segmentation recipe, or choose from {', '.join(SOURCES)}"
    demand(data.source not in SEGMENTATION_SOURCES, what, hint)
    source = TABLE if data.labels is not None else lookup("--data.source", data.source, SOURCES)
    if source.root_hint and data.root is None:
        user = f"--data.source {data.source}" if data.labels is None else f"--data.labels {data.labels}"
        raise UserError(f"--data.root is not given, and {user} needs it", source.root_hint)
    return source


TABLE = Source(table_splits, table_eval, "the folder or archive with the images of the table", table_images)
"""the images of a table of labels"""
SOURCES = {
    "folder": Source(
        folder_splits,
        folder_eval,
        "a folder, an archive or Parquet files with one sub-folder for each class, or with train/ and val/ of such",
        folder_images,
    ),
    "digits": Source(digits_splits, lambda data: digits_splits(data).val),
    **{name: Source(known.splits, known.val, known.root_hint) for name, known in PUBLISHED_DATASETS.items()},
}
