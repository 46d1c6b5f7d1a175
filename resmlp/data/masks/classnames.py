"""What the classes of masks are called and how they are numbered and colored, as a set's own files or its kind say."""

import csv
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from resmlp.config.tasks import Segment
from resmlp.data.masks.files import MOST_CLASSES, NUMBERS, Color, Labeling
from resmlp.utils.checks import demand
from resmlp.utils.errors import UserError, printable

LISTS = ("classes.txt", "objectInfo150.csv", "objectInfo150.txt")
"""files that name the classes: a line is a name, or a number and a name; the others are ADE20K's"""
PALETTE = "palette.txt"
LONGEST = 2**20  # bytes of such a file

CAMVID = {
    "sky": (128, 128, 128),
    "building": (128, 0, 0),
    "pole": (192, 192, 128),
    "road": (128, 64, 128),
    "pavement": (60, 40, 222),
    "tree": (128, 128, 0),
    "sign_symbol": (192, 128, 128),
    "fence": (64, 64, 128),
    "car": (64, 0, 128),
    "pedestrian": (64, 64, 0),
    "bicyclist": (0, 128, 192),
}
"""classes of SegNet's CamVid, in order, and the colors in which it is shown; 11 is unlabeled"""
ADE20K_CLASSES = 150


@dataclass(frozen=True)
class Naming:
    """The classes of a set, in order."""

    classes: tuple[str, ...]
    palette: tuple[Color, ...]
    labeling: Labeling


def numbered(task: Segment, source: str) -> tuple[int, frozenset[int]]:
    """The number of class 0 in the files of a --data.source, and the numbers that count for nothing."""
    own = {11} if source == "camvid" else set()
    given = set() if task.ignore_index is None else {task.ignore_index}
    return int(task.reduce_zero_label or source == "ade20k"), frozenset(own | given)


def naming(root: Path, source: str, task: Segment) -> Naming | None:
    """How the set at `root` names its classes; None where nothing says how many there are. Raises `UserError`."""
    first, ignored = numbered(task, source)
    colors = read_palette(root, first)
    if source == "camvid":
        return name_classes(tuple(CAMVID), first, ignored, {**dict(enumerate(CAMVID.values())), **colors})
    found = read_classes(root, first, ignored)
    if not found and source == "ade20k":
        found = tuple(str(number) for number in range(1, ADE20K_CLASSES + 1))
    return name_classes(found, first, ignored, colors) if found else None


def name_classes(classes: tuple[str, ...], first: int, ignored: frozenset[int], colors: dict[int, Color]) -> Naming:
    """The naming of these classes, with the `colors` that there are by number, and made-up ones for all others."""
    demand(len(classes) <= MOST_CLASSES, f"{len(classes)} classes of pixels", f"{MOST_CLASSES} at most are supported")
    made_up = palette(len(classes))
    shown = tuple(colors.get(first + label, color) for label, color in enumerate(made_up))
    return Naming(classes, shown, Labeling(len(classes), first, ignored, tuple(sorted(colors.items()))))


def palette(count: int) -> tuple[Color, ...]:
    """As many colors that people can tell apart: the bits of a number from 1 on, dealt out to red, green and blue.

    It is the color map of Pascal VOC, without its black.
    """
    return tuple(_dealt(number) for number in range(1, count + 1))


def _dealt(number: int) -> Color:
    red, green, blue = (sum((number >> 3 * i + c & 1) << 7 - i for i in range(8)) for c in range(3))
    return red, green, blue


def read_classes(root: Path, first: int, ignored: frozenset[int]) -> tuple[str, ...]:
    """The names in the list of classes below `root`, those that count for nothing left out; none without a list.

    Raises `UserError` for a list that is damaged, names a class twice, or whose numbers have gaps.
    """
    file = next((root / name for name in LISTS if (root / name).is_file()), None)
    if file is None:
        return ()
    rows = _ade20k(file) if file.stem == "objectInfo150" else _listed(file, first)
    while rows and max(rows) in ignored:
        del rows[max(rows)]
    rows = {number: name for number, name in sorted(rows.items()) if number >= first}
    last = first + len(rows) - 1
    gap = f"{file} numbers its classes from {min(rows, default=0)} to {max(rows, default=0)}, {len(rows)} of them"
    hint = f"they should run from {first} to {last}; 0 may count for nothing: --task.reduce-zero-label"
    demand(bool(rows) and [*rows] == [*range(first, last + 1)], gap, hint)
    twice = [name for name, count in Counter(rows.values()).items() if count > 1]
    demand(not twice, f"{file} names {', '.join(twice[:5])} twice", "each class has a name of its own")
    return tuple(rows.values())


def _listed(file: Path, first: int) -> dict[int, str]:
    """Number -> name, of lines `NUMBER NAME`, or of lines `NAME` in order."""
    lines = _lines(file)
    rows = [re.fullmatch(r"(\d{1,5})[\s,;:]+(\S.*)", line) for line in lines]
    if not all(rows):
        return {first + i: line[:100] for i, line in enumerate(lines)}
    found = {int(row[1]): row[2][:100] for row in rows if row}
    demand(len(found) == len(rows), f"{file} gives a number to two classes", "each class has a number of its own")
    return found


def _ade20k(file: Path) -> dict[int, str]:
    """Number -> name, of a table with columns Idx and Name: of several names the first, where no other class has it."""
    lines = _lines(file)
    table = csv.DictReader(lines, delimiter="\t" if lines and "\t" in lines[0] else ",")
    try:
        rows = [{str(key).strip(): str(value).strip() for key, value in row.items()} for row in table]
        names = {int(row["Idx"]): row["Name"][:100] for row in rows}
    except (KeyError, ValueError, csv.Error) as error:
        raise UserError(f"{file} is no table of classes with columns Idx and Name", "fetch it again") from error
    short = {number: re.split("[;,]", name)[0] for number, name in names.items()}
    uses = Counter(short.values())
    return {number: name if uses[name] == 1 else names[number] for number, name in short.items()}


def read_palette(root: Path, first: int) -> dict[int, Color]:
    """Number -> color, by lines `RED GREEN BLUE` in the order of the classes, or `NUMBER RED GREEN BLUE`.

    Nothing without such a file; raises `UserError` for a line of another kind, and for a color of two classes.
    """
    file = root / PALETTE
    if not file.is_file():
        return {}
    lines = _lines(file)
    rows = [[int(word) for word in re.findall(r"\d{1,5}", line)] for line in lines]
    shaped = all(re.fullmatch(r"[\d\s,;]+", line) for line in lines) and len({len(row) for row in rows}) == 1
    fits = shaped and len(rows[0]) in (3, 4) and all(max(row[-3:]) < 256 and row[0] < NUMBERS for row in rows)
    demand(fits, f"{file} is no list of colors", "a line is RED GREEN BLUE, or NUMBER RED GREEN BLUE; 0 to 255 each")
    found: dict[int, Color] = {}
    for i, row in enumerate(rows):
        found[row[0] if len(row) == 4 else first + i] = (row[-3], row[-2], row[-1])
    unlike = len(set(found.values())) == len(rows)
    demand(unlike, f"{file} gives one color to two classes, or two to one", "each class has a color of its own")
    return found


def _lines(file: Path) -> list[str]:
    """Lines of a short text that say something, stripped and printable."""
    try:
        with file.open("rb") as opened:
            text = opened.read(LONGEST + 1)
        demand(len(text) <= LONGEST, f"{file} is no list of classes or colors", "it is far too long")
        lines = [line.strip() for line in text.decode("utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {file}: {error}", "it should be UTF-8 text") from error
    return [line if "\t" in line else printable(line) for line in lines if line and not line.startswith("#")]
