"""Names, numbers and colors of the classes of masks, from the files of a data set or from its published definition."""

import csv
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from resmlp.config.tasks import Segment
from resmlp.data.masks.files import MAX_CLASSES, NUMBER_COUNT, Color, LabelMap
from resmlp.utils.checks import demand
from resmlp.utils.errors import UserError, printable

LISTS = ("classes.txt", "objectInfo150.csv", "objectInfo150.txt")
"""files with the names of the classes: a line is a name, or a number and a name; the other two are ADE20K's"""
PALETTE = "palette.txt"
MAX_BYTES = 2**20
"""of such a file"""

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
"""the classes of SegNet's CamVid in order, and their published colors; number 11 is unlabeled"""
ADE20K_CLASSES = 150


@dataclass(frozen=True)
class ClassInfo:
    """The classes of a data set, in order."""

    classes: tuple[str, ...]
    palette: tuple[Color, ...]
    label_map: LabelMap


@dataclass(frozen=True)
class ListFiles:
    """The files of a data set that list its classes and their colors."""

    root: str
    """of the data set, for messages"""
    contents: Mapping[str, bytes]
    """from the name of a file to its first bytes"""

    def name(self, name: str) -> str:
        """The path of a file, for messages."""
        return f"{self.root}/{name}"

    def lines(self, name: str) -> list[str]:
        """The lines of a short text file without empty lines and comments, stripped and printable."""
        file, content = self.name(name), self.contents[name]
        demand(len(content) <= MAX_BYTES, f"{file} is not a list of classes or colors", "the file is too long")
        try:
            lines = [line.strip() for line in content.decode("utf-8-sig").splitlines()]
        except UnicodeDecodeError as error:
            raise UserError(f"cannot read {file}: {error}", "save it as UTF-8 text") from error
        return [line if "\t" in line else printable(line) for line in lines if line and not line.startswith("#")]


def find_lists(root: Path) -> ListFiles:
    """Those in the folder `root`; raises `UserError` if one cannot be read."""
    contents = {}
    for name in (*LISTS, PALETTE):
        try:
            if (root / name).is_file():
                with (root / name).open("rb") as file:
                    contents[name] = file.read(MAX_BYTES + 1)
        except OSError as error:
            raise UserError(f"cannot read {root / name}: {error.strerror}", "check its permissions") from error
    return ListFiles(str(root), contents)


def first_and_ignored(task: Segment, source: str) -> tuple[int, frozenset[int]]:
    """The number of class 0 in the files of a --data.source, and the numbers that are ignored."""
    published = {11} if source == "camvid" else set()
    from_task = set() if task.ignore_index is None else {task.ignore_index}
    return int(task.reduce_zero_label or source == "ade20k"), frozenset(published | from_task)


def read_class_info(lists: ListFiles, source: str, task: Segment) -> ClassInfo | None:
    """The classes of a data set; None if no file defines them. Raises `UserError`."""
    first, ignored = first_and_ignored(task, source)
    colors = read_palette(lists, first)
    if source == "camvid":
        return make_class_info(tuple(CAMVID), first, ignored, {**dict(enumerate(CAMVID.values())), **colors})
    classes = read_classes(lists, first, ignored, dict(task.label_map))
    if not classes and source == "ade20k":
        classes = tuple(str(number) for number in range(1, ADE20K_CLASSES + 1))
    return make_class_info(classes, first, ignored, colors) if classes else None


def make_class_info(
    classes: tuple[str, ...], first: int, ignored: frozenset[int], colors: dict[int, Color]
) -> ClassInfo:
    """Classes with the given `colors` (by number) and generated ones for the others; raises `UserError` above 255."""
    demand(len(classes) <= MAX_CLASSES, f"{len(classes)} classes of pixels", f"at most {MAX_CLASSES} are supported")
    generated = palette(len(classes))
    shown = tuple(colors.get(first + label, color) for label, color in enumerate(generated))
    return ClassInfo(classes, shown, LabelMap(len(classes), first, ignored, tuple(sorted(colors.items()))))


def palette(count: int) -> tuple[Color, ...]:
    """`count` distinct colors: the color map of Pascal VOC, without its black."""
    return tuple(_voc_color(number) for number in range(1, count + 1))


def _voc_color(number: int) -> Color:
    """The bits of the number, distributed in turn to red, green and blue."""
    red, green, blue = (sum((number >> 3 * i + c & 1) << 7 - i for i in range(8)) for c in range(3))
    return red, green, blue


def read_classes(
    lists: ListFiles, first: int, ignored: frozenset[int], renumbered: Mapping[int, int] = MappingProxyType({})
) -> tuple[str, ...]:
    """The names in the list of classes, without those of ignored numbers; empty if there is no list.

    A number of `renumbered` is read as the number of its class.

    Raises `UserError` for a list that is damaged, names a class twice, or has gaps between its numbers.
    """
    name = next((name for name in LISTS if name in lists.contents), None)
    if name is None:
        return ()
    file, lines = lists.name(name), lists.lines(name)
    rows = _read_list(file, lines, first) if name == LISTS[0] else _read_ade20k(file, lines)
    rows = {renumbered.get(number, number): name for number, name in rows.items()}
    dropped = 0
    while rows and max(rows) in ignored:
        dropped = max(rows)
        del rows[dropped]
    rows = {number: name for number, name in sorted(rows.items()) if number >= first}
    what = f"{file} has a single class besides {dropped}, which is ignored"
    demand(not dropped or len(rows) > 1, what, f"--task.label-map {dropped} {first + 1} reads {dropped} as a class")
    last = first + len(rows) - 1
    what = f"{file} has {len(rows)} classes with numbers from {min(rows, default=0)} to {max(rows, default=0)}"
    hint = f"use the numbers {first} to {last}; if 0 is ignored, set --task.reduce-zero-label"
    demand(bool(rows) and [*rows] == [*range(first, last + 1)], what, hint)
    repeated = [name for name, count in Counter(rows.values()).items() if count > 1]
    demand(not repeated, f"{file} names {', '.join(repeated[:5])} twice", "give each class its own name")
    return tuple(rows.values())


def _read_list(file: str, lines: list[str], first: int) -> dict[int, str]:
    """From number to name, of lines `NUMBER NAME`, or of lines `NAME` in order."""
    rows = [re.fullmatch(r"(\d{1,5})[\s,;:]+(\S.*)", line) for line in lines]
    if not all(rows):
        return {first + i: line[:100] for i, line in enumerate(lines)}
    names = {int(row[1]): row[2][:100] for row in rows if row}
    demand(len(names) == len(rows), f"{file} gives the same number to two classes", "give each class its own number")
    return names


def _read_ade20k(file: str, lines: list[str]) -> dict[int, str]:
    """From number to name, of a table with columns Idx and Name. Of several names the first one, if it is unique."""
    table = csv.DictReader(lines, delimiter="\t" if lines and "\t" in lines[0] else ",")
    try:
        rows = [{str(key).strip(): str(value).strip() for key, value in row.items()} for row in table]
        names = {int(row["Idx"]): row["Name"][:100] for row in rows}
    except (KeyError, ValueError, csv.Error) as error:
        raise UserError(f"{file} is not a table of classes with columns Idx and Name", "download it again") from error
    short = {number: re.split("[;,]", name)[0] for number, name in names.items()}
    uses = Counter(short.values())
    return {number: name if uses[name] == 1 else names[number] for number, name in short.items()}


def read_palette(lists: ListFiles, first: int) -> dict[int, Color]:
    """From number to color, of lines `RED GREEN BLUE` in the order of the classes, or `NUMBER RED GREEN BLUE`.

    Empty if there is no such file. Raises `UserError` for any other line, and for a color of two classes.
    """
    if PALETTE not in lists.contents:
        return {}
    file, lines = lists.name(PALETTE), lists.lines(PALETTE)
    rows = [[int(word) for word in re.findall(r"\d{1,5}", line)] for line in lines]
    regular = all(re.fullmatch(r"[\d\s,;]+", line) for line in lines) and len({len(row) for row in rows}) == 1
    valid = regular and len(rows[0]) in (3, 4) and all(max(row[-3:]) < 256 and row[0] < NUMBER_COUNT for row in rows)
    hint = "a line is RED GREEN BLUE or NUMBER RED GREEN BLUE, with colors from 0 to 255"
    demand(valid, f"{file} is not a list of colors", hint)
    colors: dict[int, Color] = {}
    for i, row in enumerate(rows):
        colors[row[0] if len(row) == 4 else first + i] = (row[-3], row[-2], row[-1])
    distinct = len(set(colors.values())) == len(rows)
    demand(distinct, f"{file} gives one color to two classes, or two to one", "give each class its own color")
    return colors
