"""Divides images with masks into a training and a validation set, and takes a fraction, as `images.dividing` does."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from resmlp.config import Data
from resmlp.data.images.dividing import LEFT_OUT, Items, check_apart, choose_fraction, choose_held, find_groups
from resmlp.data.masks.maskset import FilePair, MaskSet
from resmlp.data.masks.scenes import SceneSplits
from resmlp.utils.checks import demand


class Divided(NamedTuple):
    """The pairs of the training set and of the validation set, and the paths of those that are in neither."""

    train: list[FilePair]
    val: list[FilePair]
    unused: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def hold_out(train: list[FilePair], given: list[FilePair] | None, data: Data) -> Divided:
    """Divide the `train` pairs, unless there is a `given` validation set, which `data.folds` leaves out.

    Raises `UserError` if a group is on both sides, or all images are in one group.
    """
    paths = [pair.path for pair in train]
    groups = find_groups(paths, data.group_by)
    if given is not None and not data.folds:
        check_apart(groups, find_groups([pair.path for pair in given], data.group_by))
        return Divided(train, given)
    held = choose_held(Items(paths, groups), data)
    kept, val = ([pair for i, pair in enumerate(train) if (i in held) == side] for side in (False, True))
    left_out = tuple(pair.path for pair in given or ())
    return Divided(kept, val, left_out, (LEFT_OUT.format(len(train), len(left_out)),) * bool(left_out))


def split_scenes(splits: SceneSplits, data: Data) -> SceneSplits:
    """The embedded scenes; with `data.folds`, the training scenes are divided, and the others are left out."""
    demand(data.group_by is None, "--data.group-by: the embedded scenes have no paths", "leave it out")
    if not data.folds:
        return splits
    train, given = splits
    held = choose_held(Items([train.path(i) for i in range(len(train))]), data)
    kept = train.subset(i for i in range(len(train)) if i not in held)
    note = LEFT_OUT.format(len(train), len(given))
    return SceneSplits(replace(kept, notes=(*kept.notes, note)), train.subset(sorted(held)))


def take_fraction(masks: MaskSet, data: Data) -> MaskSet:
    """Keep `data.fraction` of the pairs, at least one; a smaller fraction is a subset of a larger one."""
    if data.fraction == 1:
        return masks
    paths: Sequence[str] = [masks.path(i) for i in range(len(masks))]
    chosen = set(choose_fraction(paths, range(len(masks)), data))
    unused = tuple(path for i, path in enumerate(paths) if i not in chosen)
    return replace(masks.subset(sorted(chosen)), unused=masks.unused + unused)
