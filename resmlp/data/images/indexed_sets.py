"""The fields of an image set whose images are rows of the index of a folder: no object for each image."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from resmlp.data.images.indexed_tree import IndexedTree
from resmlp.data.images.tree_files import Tree, sort_classes
from resmlp.data.images.trees import SplitTree, class_names
from resmlp.data.shards.rows import Images, Paths, StepLabels, Steps


def part_fields(found: SplitTree, tree: IndexedTree) -> dict[str, Any]:
    """Of the images in the class folders of the whole tree, or of one of its splits. Raises `UserError`."""
    ranges, classes = tree.ranges(), class_names(tree)
    return _fields(found.whole, classes, [(ranges[name], label) for label, name in enumerate(classes)])


def all_fields(found: SplitTree) -> dict[str, Any]:
    """Of the images in the class folders of both splits, or of a tree without; does not check the classes."""
    trees = [tree for tree in (found.train, found.val) if tree] or [found.whole]
    ranges = [item for tree in trees if isinstance(tree, IndexedTree) for item in tree.ranges().items()]
    classes = sort_classes({name for name, _ in ranges})
    labels = {name: label for label, name in enumerate(classes)}
    return _fields(found.whole, classes, [(rows, labels[name]) for name, rows in ranges])


def unlabeled_fields(found: SplitTree, tree: IndexedTree) -> dict[str, Any]:
    """Of all images of a tree, without classes."""
    rows = tree.entries.rows
    assert isinstance(rows, range)
    return _fields(found.whole, (), [(rows, 0)])


def outside_folders(tree: Tree, prefixes: Sequence[str]) -> tuple[int, str]:
    """The number of images that lie in no folder of those parts of an indexed tree, and the path of the first."""
    assert isinstance(tree, IndexedTree)
    index, folder = tree.entries.packed, tree.entries.folder
    inside = [rows for prefix in prefixes for rows in index.inside(folder + prefix).values()]
    end, count = index.rows(folder).start, len(tree.images)
    for rows in sorted(inside, key=lambda rows: rows.start):
        if rows.start > end:
            break
        end = rows.stop
    left = count - sum(map(len, inside))
    return left, index.name(end).removeprefix(folder) if left else ""


def _fields(whole: Tree, classes: Sequence[str], runs: Sequence[tuple[range, int]]) -> dict[str, Any]:
    """Of the images in these runs of rows, each with its label; the paths are those in the `whole` tree."""
    assert isinstance(whole, IndexedTree)
    index, rows = whole.entries.packed, _connected([run for run, _ in runs])
    return {
        "classes": tuple(classes),
        "labels": StepLabels(index, rows, Steps.of(runs)),
        "images": Images(index, rows),
        "paths": Paths(index, rows, whole.entries.folder),
    }


def _connected(runs: Sequence[range]) -> range | np.ndarray:
    """The rows of all runs, in their order."""
    if all(run.stop == following.start for run, following in pairwise(runs)):
        return range(runs[0].start, runs[-1].stop) if runs else range(0)
    dtype = np.int32 if max(run.stop for run in runs) < 2**31 else np.int64
    return np.concatenate([np.arange(run.start, run.stop, dtype=dtype) for run in runs])
