"""Where images come from: `SOURCES` maps a --data.source to what opens it."""

from collections.abc import Callable
from typing import NamedTuple

from resmlp.config import Data
from resmlp.data.images.imageset import ImageSet, Splits, digits_splits, folder_eval, folder_splits, share
from resmlp.data.images.published_datasets import KNOWN
from resmlp.utils.checks import demand
from resmlp.utils.errors import UserError, lookup

SEGMENTATION_SOURCES = ("masks", "camvid", "ade20k", "scenes")
"""values of --data.source with a label for each pixel: `resmlp.data.masks` opens them, and this module refuses them"""


class Source(NamedTuple):
    """The two ways to open a kind of data."""

    splits: Callable[[Data], Splits]
    held_out: Callable[[Data], ImageSet]
    place: str = ""
    """what --data.root should be; empty where it needs none"""


def open_splits(data: Data) -> Splits:
    """The training and the held-out images of `data`.

    A tree with train/ and val/ (or validation/, valid/, test/) is taken as it is; any other is split class by class,
    by `data.val_fraction` and `data.split_seed`. Of the training images `data.fraction` of each class is kept. Raises
    `UserError` for a root that is missing, empty or not a tree of class folders, for a single class, and where the
    classes of train and val differ.
    """
    splits = _source(data).splits(data)
    return splits._replace(train=share(splits.train, data))


def open_eval(data: Data) -> ImageSet:
    """Images to evaluate on, for a model that was not trained on this root: val/ of a divided tree, else all of it.

    Raises `UserError` as `open_splits` does, but takes a single class. For the held-out share of a tree that training
    split itself, take `open_splits(data).val`.
    """
    return _source(data).held_out(data)


def other_counts(source: str, splits: Splits) -> str:
    """How many images and classes the source was published with, where `splits` has others; else empty."""
    if source not in KNOWN:
        return ""
    known = KNOWN[source]
    if (len(splits.train), len(splits.val), len(splits.train.classes)) == known.counts:
        return ""
    return "{} was published with {:,} to train on, {:,} held out, {:,} classes".format(known.title, *known.counts)


def _source(data: Data) -> Source:
    pixels = f"--data.source {data.source} labels pixels, and here images are labeled as a whole"
    demand(
        data.source not in SEGMENTATION_SOURCES,
        pixels,
        f"a recipe of segmentation takes it; choose from {', '.join(SOURCES)}",
    )
    source = lookup("--data.source", data.source, SOURCES)
    if source.place and data.root is None:
        raise UserError(f"--data.root is not given, and --data.source {data.source} needs it", source.place)
    return source


SOURCES = {
    "folder": Source(
        folder_splits, folder_eval, "a folder or .tar / .tar.gz of one sub-folder a class, or of train/ and val/"
    ),
    "digits": Source(digits_splits, lambda data: digits_splits(data).val),
    **{name: Source(known.splits, known.held_out, known.place) for name, known in KNOWN.items()},
}
