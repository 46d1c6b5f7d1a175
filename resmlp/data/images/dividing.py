"""Divides images into a training and a validation set, into folds, and takes a fraction of them: by paths alone.

All images of a group are on one side. Where images have no groups, each is a group of its own.
"""

import re
import warnings
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import NamedTuple

import numpy as np

from resmlp.config import Data
from resmlp.data.images.tree_files import short_list
from resmlp.utils.checks import demand
from resmlp.utils.errors import UserError, counted

SPLIT, FRACTION = "split", "fraction"
"""what `position` decides: an image's place in one order says nothing of its place in the other"""
VAL_FOLDER = "or give the data a val/ folder"
LEFT_OUT = "--data.folds divides the {:,} training images; the {:,} of val are left out"


class Items(NamedTuple):
    """What is divided: a value for each image."""

    paths: Sequence[str]
    groups: Sequence[str] = ()
    """empty: each image is a group of its own"""
    labels: Sequence[int] = ()
    """empty: there are no classes to keep on both sides"""
    classes: Sequence[str] = ()
    """the name of each label"""

    @property
    def units(self) -> Sequence[str]:
        """What stays together: the group of each image, or its path."""
        return self.groups or self.paths

    @property
    def unit(self) -> str:
        """What a unit is called."""
        return "group" if self.groups else "image"

    def label_array(self) -> np.ndarray:
        """The label of each image, int32; zeros where there are no classes."""
        return np.asarray(self.labels, np.int32) if self.labels else np.zeros(len(self.paths), np.int32)

    def units_by_class(self) -> list[set[str]]:
        """The units of each label; one set where there are no classes."""
        units: list[set[str]] = [set() for _ in self.classes or ("",)]
        for unit, label in zip(self.units, self.labels or [0] * len(self.paths)):
            units[label].add(unit)
        return units

    def check(self) -> None:
        """Raise `UserError` unless each class has two units or more."""
        if self.groups:
            single = {i: next(iter(units)) for i, units in enumerate(self.units_by_class()) if len(units) == 1}
            names = [f"{self.classes[i]} ({unit})" if self.classes else unit for i, unit in single.items()]
        else:
            alone = np.flatnonzero(np.bincount(self.label_array(), minlength=1) == 1).tolist()
            names = [self.classes[i] if self.classes else self.paths[0] for i in alone]
        if not names:
            return
        what = f"{'a class with one' if self.classes else 'one'} {self.unit} cannot be split: {short_list(names)}"
        raise UserError(what, f"add {self.unit}s, {VAL_FOLDER}")


def position(seed: int, path: str, stream: str) -> float:
    """A number in [0, 1) that depends on one image's path, or one group, alone: no other file changes it."""
    digest = blake2b(f"{seed} {stream} {path}".encode(), digest_size=7).digest()
    return int.from_bytes(digest) / 2**56


def find_groups(paths: Sequence[str], expression: str | None) -> tuple[str, ...]:
    """The group of each path: the first group of the regular expression, or its whole match; empty without one.

    Raises `UserError` for a path that does not match.
    """
    if expression is None:
        return ()
    pattern = re.compile(expression)
    matches = [pattern.search(path) for path in paths]
    groups = [match[min(1, pattern.groups)] if match else None for match in matches]
    if missing := [path for path, group in zip(paths, groups) if not group]:
        what = f"--data.group-by {expression} does not match {len(missing):,} of {counted(len(paths), 'path')}"
        raise UserError(f"{what}: {short_list(missing, 2)}", "each path of an image must match, with a group in it")
    return tuple(group or "" for group in groups)


def check_apart(train: Iterable[str], val: Iterable[str]) -> None:
    """Raise `UserError` if a group has images on both sides."""
    if both := sorted(set(train) & set(val)):
        what = f"{counted(len(both), 'group')} with images in train and in val: {short_list(both)}"
        raise UserError(what, "move all images of a group to one side, or give one tree without val/ to split it")


def choose_held(items: Items, data: Data) -> set[int]:
    """The indices of the validation set: those of the fold `data.fold`, or a `data.val_fraction` of each class.

    Raises `UserError` if a class cannot be on both sides.
    """
    items.check()
    if data.folds:
        return _choose_fold(items, data)
    return _choose_groups(items, data) if items.groups else _choose_images(items, data)


def _choose_images(items: Items, data: Data) -> set[int]:
    """As `_choose_groups` where each image is a group of its own; it needs no object for each image."""
    count, labels = len(items.paths), items.label_array()
    places = np.fromiter((position(data.split_seed, path, SPLIT) for path in items.paths), np.float64, count)
    held = places < data.val_fraction
    for own in np.split(np.argsort(labels, kind="stable"), np.cumsum(np.bincount(labels, minlength=1))[:-1]):
        if len(own) == 0:  # a class without images
            continue
        if not held[own].any():
            held[own[places[own] == places[own].min()]] = True
        elif held[own].all():
            held[own[places[own] == places[own].max()]] = False
    return set(np.flatnonzero(held).tolist())


def _choose_groups(items: Items, data: Data) -> set[int]:
    """Each group is held out or not by its own name: another that comes or goes moves none.

    The validation set is `val_fraction` of each class on average: at least one group, and not all groups.
    """
    places = {unit: position(data.split_seed, unit, SPLIT) for unit in items.units}
    held = {unit for unit, place in places.items() if place < data.val_fraction}
    by_class = items.units_by_class()
    for _ in by_class:  # a group of several classes that moves for one of them may be missed by another
        one_sided = [units for units in by_class if _is_one_sided(units, held)]
        if not one_sided:
            break
        shared = {unit: [units for units in by_class if unit in units] for unit in set().union(*one_sided)}
        for units in one_sided:
            _mend(sorted(units, key=lambda unit: (places[unit], unit)), shared, held)
    for name, units in zip(items.classes or ("the images",), by_class):
        what = f"no division by groups was found that has {name} in train and in val"
        demand(not _is_one_sided(units, held), what, f"use smaller groups, {VAL_FOLDER}")
    return {i for i, unit in enumerate(items.units) if unit in held}


def _is_one_sided(units: set[str], held: set[str]) -> bool:
    return bool(units) and (held.isdisjoint(units) or units <= held)


def _mend(units: Sequence[str], shared: dict[str, list[set[str]]], held: set[str]) -> None:
    """Move one of a class's `units`, in order of their places, to the side that has none of them.

    It is the nearest one that no other class would miss; `shared` are the units of each class that has a unit.
    """
    if held.isdisjoint(units):
        held.add(next((u for u in units if all(others - held != {u} for others in shared[u])), units[0]))
    elif held.issuperset(units):
        held.remove(next((u for u in units[::-1] if all(others & held != {u} for others in shared[u])), units[-1]))


def _choose_fold(items: Items, data: Data) -> set[int]:
    """The fold `data.fold` of `data.folds` of about equal size, each with about the same share of each class."""
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    demand(data.fold is not None, f"--data.folds {data.folds} without --data.fold", "give the number of the fold")
    labels = items.labels or [0] * len(items.paths)
    largest = max(len(units) for units in items.units_by_class())
    what = f"--data.folds {data.folds}, but no class has more than {counted(largest, items.unit)}"
    demand(largest >= data.folds, what, f"at most --data.folds {largest}")
    order = sorted(range(len(items.paths)), key=lambda i: items.paths[i])  # the order of the files does not matter
    kind = StratifiedGroupKFold if items.groups else StratifiedKFold
    splitter = kind(data.folds, shuffle=True, random_state=data.split_seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a class of fewer images than folds: some folds have none of it
        parts = list(splitter.split(order, [labels[i] for i in order], [items.units[i] for i in order]))
    held = {order[i] for i in parts[data.fold or 0][1]}
    kept = {labels[i] for i in order if i not in held}
    gone = [name for label, name in enumerate(items.classes) if label in set(labels) - kept]
    what = f"fold {data.fold} of {data.folds} has all images of {short_list(gone) or 'the data'}, or none"
    demand(bool(held) and bool(kept) and not gone, what, "use smaller groups, fewer folds or another --data.split-seed")
    return held


def needed_in_training(items: Items, label_sets: Sequence[Sequence[int]], held: set[int]) -> set[int]:
    """Those of the `held` images without which a label has no image to train on, with their whole groups."""
    trained = {label for i, labels in enumerate(label_sets) if i not in held for label in labels}
    needed = set[str]()
    for i in sorted(held, key=lambda i: (items.units[i], i)):
        if not trained.issuperset(label_sets[i]):
            needed.add(items.units[i])
            trained.update(label_sets[i])
    return {i for i in held if items.units[i] in needed}


def choose_fraction(paths: Sequence[str], indices: Sequence[int], data: Data) -> list[int]:
    """`data.fraction` of `indices`, of images with these `paths`: at least one."""
    order = sorted(range(len(paths)), key=lambda i: (position(data.split_seed, paths[i], FRACTION), paths[i]))
    return [indices[i] for i in order[: max(1, round(data.fraction * len(paths)))]]
