"""Where images with a label for each pixel come from.

Masks are looked at before training, so that what is amiss is said then: each pixel of up to 2,000, at 1.5 ms for one of
480 x 360, and of all others the headers, at 0.1 ms; the rest of these is checked as they are used.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from resmlp.config import Data
from resmlp.config.tasks import Segment
from resmlp.data.images.imageset import FRACTION_STREAM
from resmlp.data.images.sources import SEGMENTATION_SOURCES
from resmlp.data.images.trees import short_list
from resmlp.data.masks.classnames import Naming, name_classes, naming, numbered, read_palette
from resmlp.data.masks.files import IGNORED, MOST_CLASSES, Labeling
from resmlp.data.masks.maskset import FilePair, MaskSet
from resmlp.data.masks.scenes import scene_splits
from resmlp.data.masks.trees import LAYOUT, Files, MaskTree, open_mask_tree
from resmlp.imaging.decode import UnreadableImage
from resmlp.utils.checks import demand
from resmlp.utils.errors import UserError, did_you_mean

CHECKED = 2000  # masks of which each pixel is looked at before training
EMPTY = "no training mask has a pixel of {}"
GO_ON = "add images that show it, or --task.empty-classes; is it held out alone, another --data.split-seed"
UNSEEN = "no held-out mask has a pixel of {}: it is not in the mean, or with 0 where the network says it"


class MaskSplits(NamedTuple):
    """What is trained on and what is held out, with the same classes."""

    train: MaskSet
    val: MaskSet


def open_masks(data: Data, task: Segment) -> MaskSplits:
    """The training and the held-out pairs of `data`, checked as `check_masks` does.

    A set with a part val (or validation, valid, test) is taken as it is; of any other `data.val_fraction` is held out,
    by `data.split_seed`. Of the training pairs `data.fraction` is kept. Raises `UserError` for what cannot be trained,
    and for a named class without a pixel to learn from, unless `task.empty_classes`.
    """
    if _source(data) == "scenes":
        train, val = scene_splits(data)
        return MaskSplits(_share(train, data), val)
    tree = open_mask_tree(str(data.root))
    train, val = _open(tree, data, task, _divided(tree, data))
    return MaskSplits(_share(train, data), val)


def open_eval_masks(data: Data, task: Segment, split: str | None = None, classes: Sequence[str] = ()) -> MaskSet:
    """Pairs to evaluate on: the part `split`, such as CamVid's test; None: val, or all of a set without parts.

    `classes` are those of a network, which the set must have, and has where nothing at its root names its own. For the
    held-out share of a set that training divided itself, take `open_masks(data, task).val`. Raises `UserError`.
    """
    if _source(data) == "scenes":
        parts = scene_splits(data)._asdict()
        demand((split or "val") in parts, f"scenes have no part {split!r}", did_you_mean(str(split), parts))
        return parts[split or "val"]
    tree = open_mask_tree(str(data.root))
    part = tree.part(split) if split else tree.whole or tree.val
    if part is None:
        raise UserError(f"{tree.root}/images has no part val to evaluate on", f"name one: {short_list(tree.parts)}")
    return _open(tree, data, task, [part.files()], classes)[0]


def check_masks(pairs: Sequence[FilePair], most: int | None = CHECKED) -> np.ndarray:
    """Look at the headers of all pairs and at the pixels of `most` masks, evenly spread (None: of all).

    Gives how many pixels there are of each label, int64 of 256. Raises `UserError` for the first mask that is damaged,
    no mask, of another size than its image, or with a label out of range.
    """
    counts = np.zeros(IGNORED + 1, np.int64)
    whole = len(pairs) if most is None else min(most, len(pairs))
    chosen = set(np.linspace(0, len(pairs) - 1, whole).astype(int).tolist())
    for i, pair in enumerate(pairs):
        pair.check()
        if i in chosen:
            counts += np.bincount(pair.labeling.read(pair.mask).ravel(), minlength=len(counts))
    return counts


def label_shares(masks: MaskSet, most: int = CHECKED) -> np.ndarray:
    """The share of each class among the labels that count, of `most` pairs, evenly spread: float64 of K.

    What cannot be read is left out. Raises `UserError` where no label counts.
    """
    counts = np.zeros(IGNORED + 1, np.int64)
    for i in np.unique(np.linspace(0, len(masks) - 1, min(most, len(masks))).astype(int)).tolist():
        with suppress(UnreadableImage):
            counts += np.bincount(masks.read(i)[1].ravel(), minlength=len(counts))
    counted = counts[: len(masks.classes)]
    demand(bool(counted.any()), "no label of the training masks counts", "see --task.ignore-index")
    return counted / counted.sum()


def _source(data: Data) -> str:
    """The source, if it has masks, and a root where it needs one."""
    has = f"--data.source {data.source} holds no labels of pixels, which segmentation needs"
    demand(data.source in SEGMENTATION_SOURCES, has, did_you_mean(data.source, SEGMENTATION_SOURCES))
    rootless = f"--data.root is not given, and --data.source {data.source} needs it"
    demand(data.source == "scenes" or data.root is not None, rootless, f"a folder with {LAYOUT}")
    return data.source


def _divided(tree: MaskTree, data: Data) -> list[Files]:
    """The files to train on and those held out."""
    part = tree.train or tree.whole
    if part is None:
        raise UserError(f"{tree.root}/images has no part train to learn from", LAYOUT)
    if tree.train and tree.val:
        return [tree.train.files(), tree.val.files()]
    both, alone = part.files()
    demand(len(both) > 1, f"{part.images} holds a single image, which cannot be split", "add images, or a part val")
    order = np.random.default_rng(data.split_seed).permutation(len(both)).tolist()
    count = min(max(1, round(data.val_fraction * len(both))), len(both) - 1)
    val, train = ([both[i] for i in sorted(own)] for own in (order[:count], order[count:]))
    return [Files(train, alone), Files(val, [])]


def _open(tree: MaskTree, data: Data, task: Segment, found: list[Files], classes: Sequence[str] = ()) -> list[MaskSet]:
    """Sets of these files, the first of which is to be learned from if there are two; each is checked."""
    first, ignored = numbered(task, data.source)
    named = _named(tree.root, data.source, task, tuple(classes))
    colors = tuple(sorted(read_palette(tree.root, first).items()))
    labeling = named.labeling if named else Labeling(MOST_CLASSES, first, ignored, colors)
    pairs = [[FilePair(*paths, labeling) for paths in files.both] for files in found]
    counts = [check_masks(own, CHECKED if named else None) for own in pairs]
    notes = [[f"masks without an image are passed over: {short_list(files.alone)}"] if files.alone else [] for files in found]
    for own, seen in zip(pairs, counts):
        nothing = f"no label of the masks in {Path(own[0].mask).parent} counts"
        demand(bool(seen[:IGNORED].any()), nothing, "see --task.ignore-index and --task.reduce-zero-label")
    if named is None:
        named = name_classes(_numbers(tree.root, first, np.sum(counts, 0)), first, ignored, dict(colors))
        called = f"the masks have {len(named.classes)}, which are called by number"
        notes[0].append(f"no classes.txt names the classes: {called}")
        task = replace(task, empty_classes=True)  # a number that does not occur is no class that somebody wants
    if len(found) > 1:
        lacking = [_lacking(named.classes, *part) for part in zip(pairs, counts)]
        demand(task.empty_classes or not lacking[0], EMPTY.format(lacking[0]), GO_ON)
        for told, names, remark in zip(notes, lacking, (EMPTY, UNSEEN)):
            told += [remark.format(names)] * bool(names)
    return [
        MaskSet(named.classes, named.palette, [pair._replace(labeling=named.labeling) for pair in own], tuple(told))
        for own, told in zip(pairs, notes)
    ]


def _lacking(classes: Sequence[str], pairs: Sequence[FilePair], counts: np.ndarray) -> str:
    """The classes of which no mask has a pixel, where all masks were looked at."""
    absent = [name for label, name in enumerate(classes) if not counts[label]]
    return short_list(absent) if absent and len(pairs) <= CHECKED else ""


def _numbers(root: Path, first: int, counts: np.ndarray) -> tuple[str, ...]:
    """The classes that nothing names, by their numbers in the masks, whose labels are `counts`; from `first` on."""
    seen = np.flatnonzero(counts[:IGNORED])
    last = first + int(seen[-1])
    alone = f"all pixels of the masks of {root} that count have label {last}"
    own = "a class whose pixels have a label to be ignored, such as 255, needs a number of its own"
    demand(last > first, alone, own)
    many = last - first + 1
    gaps = f"the labels of the masks of {root} go up to {last}, and only {len(seen)} of {many} occur"
    demand(2 * len(seen) >= many, gaps, f"list the classes in classes.txt, or --task.ignore-index {last}")
    return tuple(map(str, range(first, last + 1)))


def _named(root: Path, source: str, task: Segment, classes: tuple[str, ...]) -> Naming | None:
    """The naming of the set at `root`, which must be of these `classes`, if there are any."""
    named = naming(root, source, task)
    if not classes:
        return named
    if named is None:
        first, ignored = numbered(task, source)
        return name_classes(classes, first, ignored, read_palette(root, first))
    ours, theirs = (f"{len(names)} ({short_list(names, 3)})" for names in (classes, named.classes))
    hint = "evaluate on images of the classes that it was trained on, in their order"
    demand(named.classes == classes, f"the network's classes are {ours}, those of {root} {theirs}", hint)
    return named


def _share(masks: MaskSet, data: Data) -> MaskSet:
    """`data.fraction` of the pairs, one at least; a smaller share is a part of a larger one."""
    if data.fraction == 1:
        return masks
    order = np.random.default_rng([data.split_seed, 0, FRACTION_STREAM]).permutation(len(masks)).tolist()
    return masks.subset(sorted(order[: max(1, round(data.fraction * len(masks)))]))
