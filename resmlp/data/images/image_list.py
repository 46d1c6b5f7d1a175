"""The list of the images that a run holds out and trains on: a file in its folder, written when the run starts.

A line has the part of an image (val, train, or unused: left out by --data.fraction or --data.folds), a mark of its
content, its class and its path in the data set. So a run is continued and evaluated on the same images, also after its
data has moved. Of a large data set the file has the checksum of its index alone (`resmlp.data.images.pinned`).
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from hashlib import sha256
from itertools import chain
from pathlib import Path
from typing import NamedTuple, Protocol

from resmlp.config import Data
from resmlp.data.images.imageset import SEPARATOR, ImageSet, Splits
from resmlp.data.images.pinned import HEADER as PINNED
from resmlp.data.images.pinned import Pinned, marked_images
from resmlp.data.images.tree_files import sort_classes
from resmlp.imaging.image_file import FAR, ImageSource, Missing
from resmlp.utils.checks import demand
from resmlp.utils.errors import UserError, counted
from resmlp.utils.files import check_file, write_whole
from resmlp.utils.run_folder import IMAGES, checkpoint_steps

DIGEST = "sha256"
"""the first word of the last line of a list, which has the SHA-256 of all others"""
GONE, CHANGED = "it is gone", "it has changed since the training"
MAX_GONE = 0.1
"""fraction of the images that may be gone when a run continues"""


class Entry(NamedTuple):
    """One image of a list, in the order of its columns."""

    part: str
    content: str
    """the number of bytes, and a checksum; empty if it was not read"""
    label: str
    """the name of its class, or of all its classes, separated by `SEPARATOR`; empty without"""
    path: str
    weight: str = ""
    """of the image in the loss; empty for all images if they have none"""


class Comparison(NamedTuple):
    """The images of a list that are not in a data set as they were, and the images there that are not in the list."""

    gone: list[str]
    changed: list[str]
    """paths of images with another content"""
    new: list[str]

    def notes(self, kept: "ImageList") -> Iterator[str]:
        """A line for what is gone or changed, and one for what is new."""
        for paths, state in ((self.gone, "gone"), (self.changed, "changed")):
            if paths:
                counts = ", ".join(
                    f"{number} of {len(entries)} {name}"
                    for name, entries in (("for training", kept.train), ("for validation", kept.val))
                    if (number := len(set(paths) & {entry.path for entry in entries}))
                )
                yield f"images of the run are {state}: {counts} ({some(paths)})"
        if self.new:
            yield f"{counted(len(self.new), 'image')} not in the list of the run, left out: {some(self.new)}"


class ImageList:
    """The images of a run."""

    def __init__(self, entries: Iterable[Entry], several: bool = False, pinned: Pinned | None = None):
        self.entries, self.several, self.pinned = entries, several, pinned
        """`several`: whether an image may have several classes; `pinned`: stands for the entries of a large set"""

    @cached_property
    def train(self) -> list[Entry]:
        """The images that are trained on."""
        return [entry for entry in self.entries if entry.part == "train"]

    @cached_property
    def val(self) -> list[Entry]:
        """The images that are held out."""
        return [entry for entry in self.entries if entry.part == "val"]

    def class_names(self, entry: Entry) -> list[str]:
        """The classes of an image."""
        names = entry.label.split(SEPARATOR) if self.several else [entry.label]
        return [name for name in names if name]

    def compare(self, paths: Sequence[str], content: Callable[[int], str]) -> Comparison:
        """Compare with the images at `paths`; `content(i)` is the mark of one, empty if it is gone, or `FAR`."""
        places = {path: i for i, path in enumerate(paths)}
        gone, changed = [], []
        for part, mark, _, path, _ in self.entries:
            if part == "unused":
                continue
            if path not in places:
                gone.append(path)
            elif mark and content(places[path]) not in (mark, FAR):
                changed.append(path)
        known = {entry.path for entry in self.entries}
        return Comparison(gone, changed, sorted(path for path in places if path not in known))

    def check(self, found: Comparison, root: str) -> None:
        """Raise `UserError` if a run cannot continue with the images that `found` describes."""
        used = len(self.train) + len(self.val)
        hint = "give the images that it was trained on, or start a new run with another --out"
        what = f"{len(found.changed)} of {used} images in {root} are not those of the run: {some(found.changed)}"
        demand(not found.changed, what, hint)
        what = f"{len(found.gone)} of {used} images of the run are not in {root}: {some(found.gone)}"
        demand(len(found.gone) <= MAX_GONE * used, what, hint)

    def is_at(self, found: Comparison) -> bool:
        """Whether most of the images are in the data set that `found` describes: it is the same, perhaps moved."""
        return 2 * (len(found.gone) + len(found.changed)) < len(self.train) + len(self.val)

    def write(self, folder: Path) -> None:
        """Write the list into a run folder, atomically."""
        write_whole(folder / IMAGES, lambda aside: _write_lines(aside, self._lines()))

    def _lines(self) -> Iterator[str]:
        if self.pinned:
            yield from (PINNED, "\t".join(map(str, self.pinned)))
            return
        entries = self.entries
        weighted = entries.weighted if isinstance(entries, NewEntries) else any(entry.weight for entry in entries)
        yield _header(self.several, weighted)
        for entry in entries:
            yield "\t".join(entry if weighted else entry[:4])


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write the lines, and after them their checksum: a long list is never in memory as a whole."""
    checksum = sha256()
    with path.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        for line in lines:
            text = f"{line}\n"
            checksum.update(text.encode(errors="backslashreplace"))
            file.write(text)
        file.write(f"{DIGEST}\t{checksum.hexdigest()}\n")


def _header(several: bool, weighted: bool) -> str:
    """The first line of a list."""
    return f"part\tcontent\t{'classes' if several else 'class'}\tpath" + "\tweight" * weighted


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def some(paths: Sequence[str], shown: int = 3) -> str:
    """A few of many paths, and the number of the others."""
    return ", ".join(paths[:shown]) + (f" and {len(paths) - shown:,} more" if len(paths) > shown else "")


def read_image_list(folder: Path | None) -> ImageList | None:
    """The list in a run folder; None if there is none. Raises `UserError` for a damaged file."""
    path = folder / IMAGES if folder else None
    if path is None or not os.path.lexists(path):
        return None
    check_file(path)
    try:
        text, _, digest = path.read_text(encoding="utf-8").rpartition(f"{DIGEST}\t")
        header, *lines = text.removesuffix("\n").split("\n")
        rows = [line.split("\t") for line in lines]
        if header == PINNED and digest == f"{_digest(text)}\n":
            ((index, *counts),) = rows
            return ImageList([], pinned=Pinned(index, *map(int, counts)))
        several, weighted = "\tclasses\t" in header, header.endswith("\tweight")
        whole = header == _header(several, weighted) and digest == f"{_digest(text)}\n"
        demand(whole and all(len(row) == 4 + weighted for row in rows), "not as it was written", "")
        return ImageList([Entry(*row) for row in rows], several)
    except (OSError, ValueError, TypeError, UserError):
        raise UserError(f"{path} is damaged", "restore it, or start again with another --out") from None


def kept_images(folder: Path | None) -> ImageList | None:
    """The list of a run that continues; None for a run without a checkpoint, which chooses its images."""
    return read_image_list(folder) if folder and checkpoint_steps(folder) else None


class Listed(Protocol):
    """Images of which a run keeps a list: an `ImageSet`, or a `MaskSet`."""

    @property
    def unused(self) -> Sequence[str]:
        """The paths of the images that neither part has."""

    def __len__(self) -> int: ...

    def path(self, i: int) -> str:
        """What identifies image `i`."""

    def content(self, i: int) -> str:
        """A mark of the content of image `i`; empty if it is gone."""

    def class_names(self, i: int) -> str:
        """The class of image `i`, or all its classes; empty without classes."""


class NewEntries:
    """The entries of a new run; each is made when it is asked for."""

    def __init__(self, train: Listed, val: Listed | None):
        self._parts = {"train": train} | ({"val": val} if val else {})
        self._unused = train.unused
        self.weighted = any(getattr(part, "weights", ()) for part in self._parts.values())
        """whether an image has a weight"""

    def __iter__(self) -> Iterator[Entry]:
        marked = marked_images(sum(map(len, self._parts.values())))
        number = 0
        for part, images in self._parts.items():
            weights = getattr(images, "weights", ())
            for i in range(len(images)):
                mark, weight = images.content(i) if number in marked else "", repr(weights[i]) if weights else ""
                yield Entry(part, "" if mark == FAR else mark, images.class_names(i), images.path(i), weight)
                number += 1
        for path in self._unused:
            yield Entry("unused", "", "", path)


def make_image_list(train: Listed, val: Listed | None) -> ImageList:
    """The list of the images of a new run."""
    if pinned := Pinned.of(train, val):
        return ImageList([], pinned=pinned)
    return ImageList(NewEntries(train, val), several=bool(getattr(train, "label_sets", ())))


def restore(kept: ImageList, images: ImageSet, data: Data, training: bool = True) -> Splits:
    """The splits of a run's list, from all `images` of its data set; what is gone or changed cannot be read.

    Raises `UserError` if `training` cannot continue with these images.
    """
    paths = images.all_paths()
    found = kept.compare(paths, images.content)
    if training:
        kept.check(found, str(data.root))
    places = {path: i for i, path in enumerate(paths)}
    classes = _classes(kept, images)
    numbers = {name: label for label, name in enumerate(classes)}
    reasons = dict.fromkeys(found.changed, CHANGED)

    def source(path: str) -> ImageSource:
        if path in places and path not in reasons:
            return images.images[places[path]]
        return Missing(f"{data.root}/{path}", reasons.get(path, GONE))

    def part(entries: Sequence[Entry], notes: tuple[str, ...]) -> ImageSet:
        sets = [tuple(sorted(numbers[name] for name in kept.class_names(entry))) for entry in entries]
        return ImageSet(
            classes,
            [labels[0] if labels else 0 for labels in sets],
            [source(entry.path) for entry in entries],
            tuple(entry.path for entry in entries),
            notes,
            weights=tuple(float(entry.weight) for entry in entries if entry.weight),
            label_sets=tuple(sets) if kept.several else (),
        )

    notes = (*images.notes, *found.notes(kept), *_relabeled(kept, images, places))
    unused = tuple(entry.path for entry in kept.entries if entry.part == "unused")
    return Splits(replace(part(kept.train, notes), unused=unused), part(kept.val, notes))


def _relabeled(kept: ImageList, images: ImageSet, places: dict[str, int]) -> Iterator[str]:
    """A line for the images that a table now gives another class: the run's own classes count."""
    known = [entry for entry in chain(kept.train, kept.val) if entry.path in places and (entry.label or kept.several)]
    changed = [entry.path for entry in known if images.class_names(places[entry.path]) != entry.label]
    if changed:
        yield f"images have another label than in the run, whose labels are used: {some(changed)}"


def _classes(kept: ImageList, images: ImageSet) -> tuple[str, ...]:
    """The classes of the run in their order: those that came later are left out."""
    listed = {name for entry in chain(kept.train, kept.val) for name in kept.class_names(entry)}
    if not listed <= set(images.classes):
        return tuple(sort_classes(listed))
    new = {images.classes[label] for i in range(len(images)) for label in images.labels_of(i)} - listed
    return tuple(name for name in images.classes if name not in new)
