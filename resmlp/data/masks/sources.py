"""The sources of images with a label for each pixel.

Masks are checked before training. Every pixel of up to 2,000 masks is checked, at 1.5 ms for a mask of 480 x 360; of
the other masks the header, at 0.1 ms. Their pixels are checked when they are read.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from resmlp.config import Data
from resmlp.config.tasks import Segment
from resmlp.data.images.image_list import CHANGED, GONE, Comparison, Entry, ImageList
from resmlp.data.images.sources import SEGMENTATION_SOURCES
from resmlp.data.images.tree_files import short_list
from resmlp.data.masks.classnames import (
    ClassInfo,
    ListFiles,
    first_and_ignored,
    make_class_info,
    read_class_info,
    read_palette,
)
from resmlp.data.masks.dividing import hold_out, split_scenes, take_fraction
from resmlp.data.masks.files import IGNORED, MAX_CLASSES, LabelMap
from resmlp.data.masks.mask_counts import MaskCounts, exif_note, ignored_error, ignored_note, numbers_as_names
from resmlp.data.masks.maskset import UNKNOWN, FilePair, MaskSet
from resmlp.data.masks.scenes import scene_splits
from resmlp.data.masks.trees import LAYOUT, MaskTree, open_mask_tree
from resmlp.imaging.decode import UnreadableImage
from resmlp.imaging.image_file import File
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


def open_masks(data: Data, task: Segment, kept: ImageList | None = None) -> MaskSplits:
    """The training set and the validation set of `data`, checked by `check_masks`.

    A data set with a split val (or validation, valid, test) is used with its splits. In any other, `data.val_fraction`
    of the pairs is the validation set, chosen by `data.split_seed`. Groups and folds are as in `open_splits`.
    `data.fraction` of the training pairs is kept.
    With the list `kept` of a run that continues, the splits are those of the list.
    Raises `UserError` for data that cannot be trained on, and for a named class without a training pixel unless
    `task.empty_classes`.
    """
    if _source(data) == "scenes":
        train, val = split_scenes(scene_splits(data), data)
        return MaskSplits(take_fraction(train, data), val)
    tree = open_mask_tree(str(data.root))
    if kept:
        return MaskSplits(*_open(tree, data, task, _kept_pairs(tree, data, kept)))
    train, val = _open(tree, data, task, _split_pairs(tree, data))
    return MaskSplits(take_fraction(train, data), val)


def open_run_val(
    data: Data, task: Segment, kept: ImageList, classes: Sequence[str], moved: bool = False
) -> MaskSet | None:
    """The validation set of a run, by its list; None if the data set `moved` and most of its images are not there."""
    tree = open_mask_tree(str(data.root))
    pairs, notes, _ = _all_pairs(tree)
    found = kept.compare([pair.path for pair in pairs], lambda i: pairs[i].content)
    if moved and not kept.is_at(found):
        return None
    val = _Pairs(_pairs_of(kept.val, pairs, found, data), [*notes, *found.notes(kept)])
    return _open(tree, data, task, [val], classes)[0]


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
    return _open(tree, data, task, [_Pairs(*folders.pairs(tree.root))], classes)[0]


def check_masks(pairs: Sequence[FilePair], limit: int | None = CHECKED) -> MaskCounts:
    """Check the headers of all pairs, and every pixel of `limit` evenly spaced masks (None: of all).

    Returns their counts. Raises `UserError` for the first mask that is damaged, is not a mask, has another size than
    its image, or has a label out of range; with `limit` None also for one with soft edges.
    """
    counts = MaskCounts()
    number = len(pairs) if limit is None else min(limit, len(pairs))
    chosen = set(np.linspace(0, len(pairs) - 1, number).astype(int).tolist())
    for i, pair in enumerate(pairs):
        if pair.missing:
            continue
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


class _Pairs(NamedTuple):
    """The pairs of one split, and notes for the user."""

    pairs: list[FilePair]
    notes: list[str] = []
    unused: tuple[str, ...] = ()
    """the paths of pairs that are left out"""


def _all_pairs(tree: MaskTree) -> _Pairs:
    """The pairs of both splits, or of a tree without splits."""
    parts = [_Pairs(*split.pairs(tree.root)) for split in (tree.train, tree.val, tree.whole) if split]
    return _Pairs([pair for part in parts for pair in part.pairs], [note for part in parts for note in part.notes])


def _split_pairs(tree: MaskTree, data: Data) -> list[_Pairs]:
    """The pairs of the training set and of the validation set."""
    folders = tree.train or tree.whole
    if folders is None:
        raise UserError(f"{tree.root}/images has no split train", LAYOUT)
    pairs, notes = folders.pairs(tree.root)
    given = _Pairs(*tree.val.pairs(tree.root)) if tree.train and tree.val else None
    what = f"{folders.images} has a single image, which cannot be split"
    demand(len(pairs) > 1 or given is not None, what, "add images, or a split val")
    divided = hold_out(pairs, given and given.pairs, data)
    train = _Pairs(divided.train, [*notes, *divided.notes], divided.unused)
    return [train, _Pairs(divided.val, given.notes if given else [])]


def _kept_pairs(tree: MaskTree, data: Data, kept: ImageList) -> list[_Pairs]:
    """The pairs of the splits of a run that continues. Raises `UserError` if they are not those of its list."""
    pairs, notes, _ = _all_pairs(tree)
    found = kept.compare([pair.path for pair in pairs], lambda i: pairs[i].content)
    kept.check(found, str(data.root))
    train, val = (_pairs_of(entries, pairs, found, data) for entries in (kept.train, kept.val))
    unused = tuple(entry.path for entry in kept.entries if entry.part == "unused")
    return [_Pairs(train, [*notes, *found.notes(kept)], unused), _Pairs(val)]


def _pairs_of(entries: Sequence[Entry], pairs: Sequence[FilePair], found: Comparison, data: Data) -> list[FilePair]:
    """The pairs of a list; those that are gone or changed cannot be read."""
    there = {pair.path: pair for pair in pairs}
    for path in found.changed:
        there[path] = there[path]._replace(missing=CHANGED)
    root = data.root
    gone = partial(FilePair, mask=File(""), label_map=UNKNOWN, missing=GONE)
    return [there.get(entry.path) or gone(File(f"{root}/{entry.path}"), path=entry.path) for entry in entries]


def _open(
    tree: MaskTree, data: Data, task: Segment, splits: list[_Pairs], classes: Sequence[str] = ()
) -> list[MaskSet]:
    """One checked data set for the pairs of each split; of two splits, the first one is the training set."""
    first, ignored = first_and_ignored(task, data.source)
    info = _class_info(tree.lists, data.source, task, tuple(classes))
    colors = tuple(sorted(read_palette(tree.lists, first).items()))
    label_map = _renumbered(info.label_map if info else LabelMap(MAX_CLASSES, first, ignored, colors), task)
    pairs = [[pair._replace(label_map=label_map, decoding=data.decoding) for pair in split.pairs] for split in splits]
    counts = [check_masks(split_pairs, CHECKED if info else None) for split_pairs in pairs]
    notes = [list(split.notes) for split in splits]
    notes[0] += tree.notes
    for split_pairs, split_counts in zip(pairs, counts):
        _check_labeled(split_pairs, split_counts, label_map)
    named = info is not None
    if info is None:
        names = numbers_as_names(tree.root, counts, label_map)
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
            info.classes,
            info.palette,
            [pair._replace(label_map=label_map) for pair in split_pairs],
            tuple(split_notes),
            split.unused,
        )
        for split_pairs, split_notes, split in zip(pairs, notes, splits)
    ]


def _check_labeled(pairs: Sequence[FilePair], counts: MaskCounts, label_map: LabelMap) -> None:
    """Raise `UserError` if all pixels of these masks are ignored."""
    more, hint = ignored_error(counts, label_map, ())
    what = f"all labels of the masks in {Path(pairs[0].mask.name).parent} are ignored{more}"
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


def _class_info(lists: ListFiles, source: str, task: Segment, classes: tuple[str, ...]) -> ClassInfo | None:
    """The classes of the data set; raises `UserError` if they differ from `classes`, unless empty."""
    info = read_class_info(lists, source, task)
    if not classes:
        return info
    if info is None:
        first, ignored = first_and_ignored(task, source)
        return make_class_info(classes, first, ignored, read_palette(lists, first))
    network, dataset = (f"{len(names)} ({short_list(names, 3)})" for names in (classes, info.classes))
    what = f"the network's classes are {network}, but those of {lists.root} are {dataset}"
    demand(info.classes == classes, what, "evaluate on images with the training classes, in the same order")
    return info
