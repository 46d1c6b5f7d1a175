"""What a conversion will write: classes, and for each image where it is and how its mask is made."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np

from resmlp.data.images.split_names import split_role
from resmlp.data.masks.classnames import palette
from resmlp.data.masks.files import MAX_CLASSES, Color
from resmlp.utils.checks import demand
from resmlp.utils.errors import UserError, brief, printable

MAX_NUMBER = 2**20
"""the largest magnitude of a coordinate: Pillow's drawing is exact below it"""
BACKGROUND = "background"


class Item(NamedTuple):
    """One image and its mask."""

    split: str
    """train, val, or empty where the data set has no splits"""
    name: str
    """of both files, without an ending"""
    image: Path
    draw: Callable[[], np.ndarray]
    """makes the class numbers, uint8 H W, `IGNORED` where a pixel has none; raises `UserError`"""


@dataclass
class Plan:
    """All that a conversion will write."""

    layout: str
    classes: tuple[str, ...]
    items: list[Item]
    colors: dict[str, Color] = field(default_factory=dict)
    """of the classes that have one"""
    notes: list[str] = field(default_factory=list)
    """what is left out"""

    def __post_init__(self) -> None:
        self.classes = tuple(printable(name).strip()[:100] for name in self.classes)
        count = len(self.classes)
        demand(0 < count <= MAX_CLASSES, f"{count} classes of pixels", f"1 to {MAX_CLASSES} are supported")
        unnamed = any(not name or name.startswith("#") for name in self.classes)
        demand(not unnamed, "a class has no name, or one that begins with #", "rename it")
        twice = sorted({name for name in self.classes if self.classes.count(name) > 1})
        demand(not twice, f"two classes are called {', '.join(twice[:3])}", "rename one of them")

    def palette(self) -> tuple[Color, ...]:
        """A color for each class, all different: that of the data set, or one of Pascal VOC's."""
        fallback = iter(palette(2 * MAX_CLASSES))
        used = {self.colors[name] for name in self.classes if name in self.colors}
        shown: list[Color] = []
        for name in self.classes:
            color = self.colors.get(name)
            if color is None or color in shown:
                color = next(other for other in fallback if other not in used)
            shown.append(color)
        return tuple(shown)


class Fields:
    """One JSON object, whose values are checked as they are taken; an error names the file and the field."""

    def __init__(self, file: Path, value: Any, path: str = ""):
        self.file, self.path = file, path
        self.value: dict[str, Any] = value if isinstance(value, dict) else self.refuse("", "a JSON object", value)

    def refuse(self, key: str, wanted: str, value: Any) -> Any:
        """Raise `UserError`: the field is not what is wanted."""
        where = ".".join(part for part in (self.path, key) if part) or "its content"
        shown = brief(str(value))[:60]
        raise UserError(f"{self.file}: {where} is {shown}, not {wanted}", "correct the file, or leave it out")

    def integer(self, key: str, low: int, high: int) -> int:
        """A whole number within the bounds; a float without a fraction is one."""
        value = self.value.get(key)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if type(value) is int and low <= value <= high:
            return value
        return int(self.refuse(key, f"a whole number from {low:,} to {high:,}", value))

    def text(self, key: str) -> str:
        """A string that is not empty."""
        value = self.value.get(key)
        return value if isinstance(value, str) and value.strip() else str(self.refuse(key, "a text", value))

    def items(self, key: str) -> list[Any]:
        """A list."""
        value = self.value.get(key)
        return value if isinstance(value, list) else list(self.refuse(key, "a list", value))

    def objects(self, key: str) -> "list[Fields]":
        """A list of JSON objects."""
        front = f"{self.path}.{key}" if self.path else key
        return [Fields(self.file, value, f"{front}[{i}]") for i, value in enumerate(self.items(key))]

    def numbers(self, key: str, values: Any) -> np.ndarray:
        """A list of finite numbers below `MAX_NUMBER`: float64 N."""
        flat = isinstance(values, list) and all(type(value) in (int, float) for value in values)
        small = flat and all(-MAX_NUMBER <= value <= MAX_NUMBER for value in values)  # refuses nan
        if not small:
            bad = (
                next((v for v in values if type(v) not in (int, float) or not abs(v) <= MAX_NUMBER), values)
                if (isinstance(values, list))
                else values
            )
            self.refuse(key, f"finite numbers up to {MAX_NUMBER:,}", bad)
        return np.array(values, np.float64)


def role_of(*names: str) -> str:
    """train or val, by the first of the names that has the word of a split in it; empty if none has."""
    for name in names:
        for word in name.replace("-", "_").replace(".", "_").split("_"):
            if role := split_role(word):
                return role[0]
    return ""


def inside(file: Path, key: str, name: str) -> PurePosixPath:
    """The relative path `name` in a field of a file. Raises `UserError` if it leads out of its folder."""
    path = PurePosixPath(name.replace("\\", "/"))
    ok = not path.is_absolute() and ".." not in path.parts and "\0" not in name and ":" not in path.parts[0][1:2]
    demand(ok, f"{file}: {key} is {brief(name)[:60]}, outside the data set", "correct the file")
    return path


def find_image(file: Path, key: str, name: str, folders: Iterable[Path]) -> Path:
    """The image of this name in the first of the folders that has it. Raises `UserError`."""
    path = inside(file, key, name)
    folders = list(dict.fromkeys(folders))
    found = next((folder / path for folder in folders if (folder / path).is_file()), None)
    if found is None:
        missing = f"{file}: {key} is {brief(name)[:60]}, and there is no such image"
        raise UserError(missing, f"put it into {folders[0]}")
    return found


def flat_name(path: PurePosixPath) -> str:
    """A name for an image in a folder: its path without the ending, with _ between the parts."""
    return "_".join(path.with_suffix("").parts)
