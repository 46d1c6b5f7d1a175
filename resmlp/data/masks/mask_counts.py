"""The numbers in the masks of a data set: how many pixels and masks have each, and what the user should know of it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from resmlp.config.preprocessing import Exif
from resmlp.data.masks.files import IGNORED, NUMBER_COUNT, LabelMap, read_numbers
from resmlp.data.masks.soft_edges import check_edges
from resmlp.imaging.image_file import Encoded
from resmlp.utils.checks import demand


def _zeros() -> np.ndarray:
    return np.zeros(NUMBER_COUNT, np.int64)


@dataclass
class MaskCounts:
    """Counts over the masks that were read."""

    pixels: np.ndarray = field(default_factory=_zeros)
    """pixels with each number, int64 of 65,536"""
    masks_with: np.ndarray = field(default_factory=_zeros)
    """masks with each number, int64 of 65,536"""
    labels: np.ndarray = field(default_factory=lambda: np.zeros(IGNORED + 1, np.int64))
    """pixels with each label, int64 of 256"""
    masks: int = 0
    orientations: Counter[int] = field(default_factory=Counter)
    """images by their EXIF orientation, of all headers; 1 is upright"""

    def add(self, mask: Encoded, label_map: LabelMap, any_number: bool) -> None:
        """Read and count a mask file; raises as `LabelMap.read` does.

        With `any_number`, no list names the classes, so that values between classes would become classes.
        """
        numbers = read_numbers(mask, label_map.colors)
        if any_number:
            check_edges(mask.name, numbers)
        labels = label_map.labels(mask.name, numbers)
        pixels = np.bincount(numbers.ravel(), minlength=NUMBER_COUNT)
        self.pixels += pixels
        self.masks_with += pixels > 0
        self.labels += np.bincount(labels.ravel(), minlength=IGNORED + 1)
        self.masks += 1

    def ignored_number(self, label_map: LabelMap) -> int | None:
        """The most frequent number that is ignored because of its value; None if no mask has one."""
        ignored = [number for number in label_map.ignored if label_map.table[number] == IGNORED]
        found = max(ignored, key=lambda number: self.pixels[number], default=None)
        return found if found is not None and self.pixels[found] else None

    def where(self, number: int) -> str:
        """The masks with a number, in words."""
        count = int(self.masks_with[number])
        return "every mask" if count == self.masks else f"{count:,} of {self.masks:,} masks"


def ignored_error(counts: MaskCounts, label_map: LabelMap, empty: Sequence[int]) -> tuple[str, str]:
    """What to add to an error about classes without pixels, the labels `empty`, and a hint; both "" if none is ignored.

    Many tools write a mask of two classes as 0 and 255, and 255 is ignored by default.
    """
    number = counts.ignored_number(label_map)
    if number is None:
        return "", ""
    target = str(label_map.first + empty[0]) if len(empty) == 1 else "K"
    what = f" while {number}, which is ignored, is in {counts.where(number)}"
    return what, f"--task.label-map {number} {target} reads {number} as class {target}; or "


def ignored_note(counts: MaskCounts, label_map: LabelMap) -> str:
    """A note if the label 255, which is ignored by convention, is in every mask; else empty."""
    if counts.ignored_number(label_map) != IGNORED or counts.masks_with[IGNORED] < counts.masks:
        return ""
    share = counts.pixels[IGNORED] / counts.pixels.sum()
    return (
        f"{IGNORED}, the ignored label, is in every mask ({share:.1%} of the pixels); if it is class K, set "
        f"--task.label-map {IGNORED} K"
    )


def exif_note(counts: Sequence[MaskCounts], exif: Exif) -> str:
    """A note if images have an EXIF orientation: masks are never turned, and sizes may not tell what they show."""
    images = sum((part.orientations for part in counts), Counter[int]())
    turned = images.total() - images[1]
    if not turned:
        return ""
    what = f"{turned:,} of {images.total():,} images have an EXIF orientation"
    if exif == "apply":
        return f"{what}: they are turned upright, and their masks must be upright (--data.exif ignore: both as stored)"
    return f"{what}, which is ignored: images and masks are read as they are stored (--data.exif apply: upright images)"


def numbers_as_names(root: str, counts: Sequence[MaskCounts], label_map: LabelMap) -> tuple[str, ...]:
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
