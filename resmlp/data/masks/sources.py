"""The sources of images with a label for each pixel.

Masks are checked before training. Every pixel of up to 2,000 masks is checked, at 1.5 ms for a mask of 480 x 360; of
the other masks the header, at 0.1 ms. Their pixels are checked when they are read.
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
from resmlp.data.masks.classnames import (
    ClassInfo,
    first_and_ignored,
    make_class_info,
    read_class_info,
    read_palette,
)
from resmlp.data.masks.files import IGNORED, MAX_CLASSES, LabelMap
from resmlp.data.masks.mask_counts import MaskCounts, exif_note, ignored_error, ignored_note
from resmlp.data.masks.maskset import FilePair, MaskSet
from resmlp.data.masks.scenes import scene_splits
from resmlp.data.masks.trees import LAYOUT, MaskTree, PairedFiles, open_mask_tree
from resmlp.imaging.decode import UnreadableImage
from resmlp.utils.checks import demand
from resmlp.utils.errors import UserError, did_you_mean

CHECKED = 2000  # masks of which every pixel is checked before training
EMPTY = "no training mask has a pixel of {}"
EMPTY_HINT = "add images with it, set --task.empty-classes, or try another --data.split-seed"
UNSEEN = "no validation mask has a pixel of {}: such a class has IoU 0 if it is predicted, otherwise mIoU skips it"


class MaskSplits(NamedTuple):
    """The training set and the validation set, with the same classes."""

    train: MaskSet
    val: MaskSet


def open_masks(data: Data, task: Segment) -> MaskSplits:
    """The training set and the validation set of `data`, checked by `check_masks`.

    A data set with a split val (or validation, valid, test) is used with its splits. In any other, `data.val_fraction`
    of the pairs is the validation set, chosen by `data.split_seed`. `data.fraction` of the training pairs is kept.
    Raises `UserError` for data that cannot be trained on, and for a named class without a training pixel unless
    `task.empty_classes`.
    """
    if _source(data) == "scenes":
        train, val = scene_splits(data)
        return MaskSplits(_take_fraction(train, data), val)
    tree = open_mask_tree(str(data.root))
    train, val = _open(tree, data, task, _split_files(tree, data))
    return MaskSplits(_take_fraction(train, data), val)


def open_eval_masks(data: Data, task: Segment, split: str | None = None, classes: Sequence[str] = ()) -> MaskSet:
    """The pairs to evaluate on: those of `split`, such as CamVid's test; by default val, or all pairs without splits.

    `classes` are those of the network: the data set must have the same, or no list of its own. If training split the
    data set itself, the validation set is `open_masks(data, task).val`. Raises `UserError`.
    """
    if _source(data) == "scenes":
        splits = scene_splits(data)._asdict()
        demand((split or "val") in splits, f"scenes have no split {split!r}", did_you_mean(str(split), splits))
        return splits[split or "val"]
    tree = open_mask_tree(str(data.root))
    folders = tree.split(split) if split else tree.whole or tree.val
    if folders is None:
        hint = f"choose one of its splits: {short_list(tree.splits)}"
        raise UserError(f"{tree.root}/images has no split val to evaluate on", hint)
    return _open(tree, data, task, [folders.files()], classes)[0]


def check_masks(pairs: Sequence[FilePair], limit: int | None = CHECKED) -> MaskCounts:
    """Check the headers of all pairs, and every pixel of `limit` evenly spaced masks (None: of all).

    Returns their counts. Raises `UserError` for the first mask that is damaged, is not a mask, has another size than
    its image, or has a label out of range; with `limit` None also for one with soft edges.
    """
    counts = MaskCounts()
    number = len(pairs) if limit is None else min(limit, len(pairs))
    chosen = set(np.linspace(0, len(pairs) - 1, number).astype(int).tolist())
    for i, pair in enumerate(pairs):
        counts.orientations[pair.check()] += 1
        if i in chosen:
            counts.add(pair.mask, pair.label_map, any_number=limit is None)
    return counts


def label_frequencies(masks: MaskSet, limit: int = CHECKED) -> np.ndarray:
    """The frequency of each class among the labels that are not ignored, in `limit` evenly spaced pairs: float64 of K.

    Skips pairs that cannot be read. Raises `UserError` if all labels are ignored.
    """
    counts = np.zeros(IGNORED + 1, np.int64)
    for i in np.unique(np.linspace(0, len(masks) - 1, min(limit, len(masks))).astype(int)).tolist():
        with suppress(UnreadableImage):
            counts += np.bincount(masks.read(i)[1].ravel(), minlength=len(counts))
    counted = counts[: len(masks.classes)]
    demand(bool(counted.any()), "all labels of the training masks are ignored", "check --task.ignore-index")
    return counted / counted.sum()


def _source(data: Data) -> str:
    """The source; raises `UserError` if it has no masks, or if it needs a root and has none."""
    what = f"--data.source {data.source} has no label for each pixel, which segmentation needs"
    demand(data.source in SEGMENTATION_SOURCES, what, did_you_mean(data.source, SEGMENTATION_SOURCES))
    what = f"--data.root is not given, and --data.source {data.source} needs it"
    demand(data.source == "scenes" or data.root is not None, what, f"a folder with {LAYOUT}")
    return data.source


def _split_files(tree: MaskTree, data: Data) -> list[PairedFiles]:
    """The files of the training set and of the validation set."""
    folders = tree.train or tree.whole
    if folders is None:
        raise UserError(f"{tree.root}/images has no split train", LAYOUT)
    if tree.train and tree.val:
        return [tree.train.files(), tree.val.files()]
    pairs, unpaired = folders.files()
    what = f"{folders.images} has a single image, which cannot be split"
    demand(len(pairs) > 1, what, "add images, or a split val")
    order = np.random.default_rng(data.split_seed).permutation(len(pairs)).tolist()
    count = min(max(1, round(data.val_fraction * len(pairs))), len(pairs) - 1)
    val, train = ([pairs[i] for i in sorted(indices)] for indices in (order[:count], order[count:]))
    return [PairedFiles(train, unpaired), PairedFiles(val, [])]


def _open(
    tree: MaskTree, data: Data, task: Segment, splits: list[PairedFiles], classes: Sequence[str] = ()
) -> list[MaskSet]:
    """One checked data set for the files of each split; of two splits, the first one is the training set."""
    first, ignored = first_and_ignored(task, data.source)
    info = _class_info(tree.root, data.source, task, tuple(classes))
    colors = tuple(sorted(read_palette(tree.root, first).items()))
    label_map = _renumbered(info.label_map if info else LabelMap(MAX_CLASSES, first, ignored, colors), task)
    pairs = [[FilePair(*paths, label_map, data.decoding) for paths in files.pairs] for files in splits]
    counts = [check_masks(split_pairs, CHECKED if info else None) for split_pairs in pairs]
    notes = [[f"skipped masks without an image: {short_list(u)}"] if u else [] for _, u in splits]
    for split_pairs, split_counts in zip(pairs, counts):
        _check_labeled(split_pairs, split_counts, label_map)
    named = info is not None
    if info is None:
        names = _numbers_as_names(tree.root, counts, label_map)
        info = make_class_info(names, first, ignored, dict(colors))
        notes[0].append(f"no classes.txt with class names: the names of the {len(names)} classes are their numbers")
        task = replace(task, empty_classes=True)  # an unused number is not a class that the user has named
    if len(splits) > 1:
        empty = [_empty_classes(info.classes, *split) for split in zip(pairs, counts)]
        if not task.empty_classes:
            _check_empty(empty[0], counts[0], label_map)
        for split_notes, split_empty, text in zip(notes, empty, (EMPTY, UNSEEN)):
            split_notes += [text.format(short_list(split_empty.values()))] * bool(split_empty)
    if not named or not counts[0].labels[: len(info.classes)].all():
        notes[0] += filter(None, [ignored_note(counts[0], label_map)])
    notes[0] += filter(None, [exif_note(counts, data.exif)])
    label_map = _renumbered(info.label_map, task)
    return [
        MaskSet(
            info.classes, info.palette, [pair._replace(label_map=label_map) for pair in split_pairs], tuple(split_notes)
        )
        for split_pairs, split_notes in zip(pairs, notes)
    ]


def _check_labeled(pairs: Sequence[FilePair], counts: MaskCounts, label_map: LabelMap) -> None:
    """Raise `UserError` if all pixels of these masks are ignored."""
    more, hint = ignored_error(counts, label_map, ())
    what = f"all labels of the masks in {Path(pairs[0].mask).parent} are ignored{more}"
    demand(bool(counts.labels[:IGNORED].any()), what, f"{hint}check --task.ignore-index and --task.reduce-zero-label")


def _check_empty(empty: dict[int, str], counts: MaskCounts, label_map: LabelMap) -> None:
    """Raise `UserError` for classes without a pixel in the training masks, from label to name."""
    more, hint = ignored_error(counts, label_map, [*empty])
    hint = f"{hint}set --task.empty-classes" if hint else EMPTY_HINT
    demand(not empty, EMPTY.format(short_list(empty.values())) + more, hint)


def _renumbered(label_map: LabelMap, task: Segment) -> LabelMap:
    """The same with `task.label_map`; raises `UserError` for a class that does not exist."""
    last = label_map.first + label_map.num_classes - 1
    for number, target in task.label_map:
        what = f"--task.label-map {number} {target}: the classes are {label_map.first} to {last}"
        demand(label_map.first <= target <= last, what, "give the number in the masks, then that of its class")
    return replace(label_map, renumbered=task.label_map)


def _empty_classes(classes: Sequence[str], pairs: Sequence[FilePair], counts: MaskCounts) -> dict[int, str]:
    """From label to name, the classes without a pixel in any mask; empty if not all masks were checked."""
    empty = {label: name for label, name in enumerate(classes) if not counts.labels[label]}
    return empty if len(pairs) <= CHECKED else {}


def _numbers_as_names(root: Path, counts: Sequence[MaskCounts], label_map: LabelMap) -> tuple[str, ...]:
    """Names of unnamed classes: the numbers in the masks from that of class 0 on."""
    labels, first = np.flatnonzero(sum(split.labels for split in counts)[:IGNORED]), label_map.first  # type: ignore[index]
    last = first + int(labels[-1])
    more, hint = ignored_error(counts[0], label_map, [1])
    what = f"the masks of {root} have a single label, {last}{more}"
    demand(last > first, what, f"{hint}give each class a number of its own")
    count = last - first + 1
    what = f"the labels of the masks of {root} go up to {last}, but only {len(labels)} of {count} occur"
    hint = f"list the classes in classes.txt, or set --task.label-map {last} K or --task.ignore-index {last}"
    demand(2 * len(labels) >= count, what, hint)
    return tuple(map(str, range(first, last + 1)))


def _class_info(root: Path, source: str, task: Segment, classes: tuple[str, ...]) -> ClassInfo | None:
    """The classes of the data set at `root`; raises `UserError` if they differ from `classes`, unless empty."""
    info = read_class_info(root, source, task)
    if not classes:
        return info
    if info is None:
        first, ignored = first_and_ignored(task, source)
        return make_class_info(classes, first, ignored, read_palette(root, first))
    network, dataset = (f"{len(names)} ({short_list(names, 3)})" for names in (classes, info.classes))
    what = f"the network's classes are {network}, but those of {root} are {dataset}"
    demand(info.classes == classes, what, "evaluate on images with the training classes, in the same order")
    return info


def _take_fraction(masks: MaskSet, data: Data) -> MaskSet:
    """Keep `data.fraction` of the pairs, at least one; a smaller fraction is a subset of a larger one."""
    if data.fraction == 1:
        return masks
    order = np.random.default_rng([data.split_seed, 0, FRACTION_STREAM]).permutation(len(masks)).tolist()
    return masks.subset(sorted(order[: max(1, round(data.fraction * len(masks)))]))
