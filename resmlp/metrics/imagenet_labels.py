"""Files of answers: the ReaL labels and lists of class indices, both hostile until checked; and images' numbers."""

import re
import reprlib
from collections.abc import Iterable
from pathlib import Path

from resmlp.utils.checks import demand
from resmlp.utils.errors import UserError, counted
from resmlp.utils.files import read_json

IMAGES = 50_000  # of ImageNet's validation set, and so of real.json
VAL_NAME = re.compile(r"ILSVRC2012_val_([0-9]{8})(?![0-9])")  # images of the training set have numbers, too


def image_number(name: str) -> int:
    """The number of an ImageNet validation image by its file's name: 1 of `val/any/ILSVRC2012_val_00000001.JPEG`."""
    found = VAL_NAME.search(Path(name).name)
    if not found:
        raise UserError(f"{name} has no number", "ReaL needs the names as published: ILSVRC2012_val_00000001.JPEG ...")
    return int(found[1])


def read_real(path: Path, num_classes: int) -> list[frozenset[int]]:
    """The ReaL labels (Beyer et al. 2020): entry i holds the classes of validation image i + 1, perhaps none.

    Raises `UserError` unless the file is a JSON list of 50,000 lists of integers in [0, num_classes).
    """
    hint = "it should be real.json of google-research/reassessed-imagenet"
    try:
        entries = read_json(path)
    except UserError as error:
        raise UserError(error.what, hint) from None
    demand(isinstance(entries, list) and len(entries) > 0, f"{path} is no list of answers", hint)
    demand(len(entries) == IMAGES, f"{path} has {len(entries):,} answers, not {IMAGES:,}", hint)
    for i, entry in enumerate(entries, 1):
        where = f"{path}: the answer to image {i}"
        demand(isinstance(entry, list), f"{where} is {reprlib.repr(entry)}", f"{hint}, a list of lists")
        for label in entry:
            demand(type(label) is int, f"{where} holds {reprlib.repr(label)}", f"{hint}, lists of class numbers")
            counts = f"the model has {counted(num_classes, 'class')}, numbered from 0"
            demand(0 <= label < num_classes, f"{where} holds {reprlib.repr(label)}", counts)
    return [frozenset(entry) for entry in entries]


def real_answers(path: Path, names: Iterable[str], num_classes: int) -> list[frozenset[int]]:
    """The ReaL labels of the images of these names, in their order.

    Raises `UserError` for a name without a number, for one number twice, and where the file has no entry for a number.
    """
    entries, seen = read_real(path, num_classes), dict[int, str]()
    for name in names:
        number = image_number(name)
        demand(number not in seen, f"{seen.get(number)} and {name} have one number", "keep one of them")
        demand(
            1 <= number <= len(entries),
            f"{name}: {path} has answers to images 1 to {len(entries)}",
            "it should be whole: 50,000 of ImageNet",
        )
        seen[number] = name
    return [entries[number - 1] for number in seen]


def read_indices(path: Path, num_classes: int) -> list[int]:
    """Class indices in increasing order, from a text file of one a line.

    Raises `UserError` for what is no number in [0, num_classes), for one twice, and for none.
    """
    try:
        words = path.read_text(encoding="utf-8").split()
    except FileNotFoundError:
        raise UserError(f"no file {path}", "check the path") from None
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {path}: {error}", "it should be text, a class index a line") from None
    demand(bool(words), f"{path} is empty", "it should hold a class index a line")
    for word in words:
        number = re.fullmatch("[0-9]{1,9}", word)
        demand(number is not None, f"{path} holds {reprlib.repr(word)}", "it should hold a class index a line")
        counts = f"the model has {counted(num_classes, 'class')}, numbered from 0"
        demand(int(word) < num_classes, f"{path} holds {word}", counts)
    indices = sorted({int(word) for word in words})
    demand(len(indices) == len(words), f"{path} holds an index twice", "each class once")
    return indices
