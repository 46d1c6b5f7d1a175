"""Label files of ImageNet's other protocols, checked: the ReaL labels, and lists of class indices."""

import re
import reprlib
from collections.abc import Iterable
from pathlib import Path

from resmlp.utils.checks import demand
from resmlp.utils.errors import UserError, counted
from resmlp.utils.files import read_json

IMAGES = 50_000  # in ImageNet's validation set and in real.json
VAL_NAME = re.compile(r"ILSVRC2012_val_([0-9]{8})(?![0-9])")  # images of the training set have other numbers


def image_number(name: str) -> int:
    """The number in the file name of an ImageNet validation image: 1 for `val/any/ILSVRC2012_val_00000001.JPEG`."""
    match = VAL_NAME.search(Path(name).name)
    if not match:
        raise UserError(f"{name} has no number", "keep the published names, such as ILSVRC2012_val_00000001.JPEG")
    return int(match[1])


def read_real(path: Path, num_classes: int) -> list[frozenset[int]]:
    """The ReaL labels (Beyer et al. 2020): entry i has the classes of validation image i + 1, which may be none.

    Raises `UserError` unless the file is a JSON list of 50,000 lists of integers in [0, num_classes).
    """
    hint = "give real.json of google-research/reassessed-imagenet"
    try:
        entries = read_json(path)
    except UserError as error:
        raise UserError(error.what, hint) from None
    demand(isinstance(entries, list) and len(entries) > 0, f"{path} is not a list of labels", hint)
    demand(len(entries) == IMAGES, f"{path} has labels of {len(entries):,} images, not {IMAGES:,}", hint)
    for i, entry in enumerate(entries, 1):
        where = f"{path}: the entry of image {i}"
        demand(isinstance(entry, list), f"{where} is {reprlib.repr(entry)}", f"{hint}: a list of lists")
        for label in entry:
            demand(type(label) is int, f"{where} holds {reprlib.repr(label)}", f"{hint}: lists of class numbers")
            counts = f"the model has {counted(num_classes, 'class')}, numbered from 0"
            demand(0 <= label < num_classes, f"{where} holds {reprlib.repr(label)}", counts)
    return [frozenset(entry) for entry in entries]


def real_labels(path: Path, names: Iterable[str], num_classes: int) -> list[frozenset[int]]:
    """The ReaL labels of the images with these file names, in their order.

    Raises `UserError` for a name without a number, for a number that occurs twice, and for one without an entry.
    """
    entries, by_number = read_real(path, num_classes), dict[int, str]()
    for name in names:
        number = image_number(name)
        demand(number not in by_number, f"{by_number.get(number)} and {name} have the same number", "keep one of them")
        demand(
            1 <= number <= len(entries),
            f"{name}: {path} has labels of images 1 to {len(entries)}",
            "keep the published names and the complete file",
        )
        by_number[number] = name
    return [entries[number - 1] for number in by_number]


def read_indices(path: Path, num_classes: int) -> list[int]:
    """Class indices in increasing order, from a text file with one index a line.

    Raises `UserError` for anything but a number in [0, num_classes), for an index that occurs twice, and for an empty
    file.
    """
    try:
        words = path.read_text(encoding="utf-8").split()
    except FileNotFoundError:
        raise UserError(f"no file {path}", "check the path") from None
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {path}: {error}", "give a text file with one class index a line") from None
    demand(bool(words), f"{path} is empty", "give a file with one class index a line")
    for word in words:
        number = re.fullmatch("[0-9]{1,9}", word)
        demand(number is not None, f"{path} holds {reprlib.repr(word)}", "give a file with one class index a line")
        counts = f"the model has {counted(num_classes, 'class')}, numbered from 0"
        demand(int(word) < num_classes, f"{path} holds {word}", counts)
    indices = sorted({int(word) for word in words})
    demand(len(indices) == len(words), f"{path} holds an index twice", "list each class once")
    return indices
