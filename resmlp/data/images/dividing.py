"""Divide a set of images into a training set and a validation set where images belong together."""

from collections import defaultdict
from dataclasses import replace

from resmlp.config import Data
from resmlp.data.images.imageset import ImageSet, Splits, choose_val, split_by_class
from resmlp.utils.checks import demand


def divide(images: ImageSet, data: Data) -> Splits:
    """The training set and the validation set of images that come undivided, by `val_fraction` and `split_seed`.

    Images with one label each are divided class by class. Where images have groups or several labels, a group (or an
    image without one) is in the validation set or not by its own name, and each class keeps an image to train on.
    Raises `UserError` where there are too few images or groups.
    """
    if not images.groups and not images.label_sets:
        return split_by_class(images, data)
    units = defaultdict[str, list[int]](list)
    for i in range(len(images)):
        units[images.groups[i] if images.groups else images.path(i)].append(i)
    names = sorted(units)
    kind = "group" if images.groups else "image"
    demand(len(names) > 1, f"all images are one {kind}, which cannot be split", "name the split of each, or add images")
    held_out = {names[i] for i in choose_val(names, range(len(names)), data)}
    held_out -= _needed_in_training(images, units, held_out)
    demand(bool(held_out), f"each {kind} has the only images of a class", "add images, or name the split of each")
    val = {i for name in held_out for i in units[name]}
    everything = range(len(images))
    return Splits(images.subset(i for i in everything if i not in val), replace(images.subset(sorted(val)), notes=()))


def _needed_in_training(images: ImageSet, units: dict[str, list[int]], held_out: set[str]) -> set[str]:
    """For each class without a training image the first of the units `held_out` that has one."""
    trained = {label for name in units.keys() - held_out for i in units[name] for label in images.labels_of(i)}
    needed = set[str]()
    for name in sorted(held_out):
        own = {label for i in units[name] for label in images.labels_of(i)}
        if not own <= trained:
            trained |= own
            needed.add(name)
    return needed
