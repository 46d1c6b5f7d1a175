"""LabelMe: a JSON file of outlines beside each image."""

from functools import partial
from pathlib import Path, PurePath, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image

from resmlp.data.masks.conversion.plan import BACKGROUND, Fields, Item, Plan, flat_name, role_of
from resmlp.data.masks.conversion.shapes import Size, circle, fill_polygon, polygon_of, rectangle, size_of
from resmlp.data.masks.files import IGNORED
from resmlp.imaging.file_types import ENDINGS
from resmlp.imaging.walk import path_in_set
from resmlp.utils.checks import demand
from resmlp.utils.errors import brief, counted

IGNORED_NAMES = ("__ignore__", "_ignore_", "ignore")
BACKGROUND_NAMES = ("_background_", "__background__", BACKGROUND)
LINES = ("point", "points", "line", "linestrip", "mask")
"""shapes without an area, or without points, which are left out"""
KEYS = {"shapes", "imagePath", "imageData", "imageWidth", "imageHeight"}
Shape = tuple[str, np.ndarray]


def is_labelme(value: dict[str, Any]) -> bool:
    """Whether a JSON object is one of LabelMe's, perhaps a wrong one."""
    return len(KEYS & value.keys()) > 1


def is_beside_image(file: Path) -> bool:
    """Whether an image of the same name lies beside a JSON file, as in LabelMe's layout."""
    endings = (*ENDINGS, *map(str.upper, ENDINGS))
    return any(file.with_suffix(ending).is_file() for ending in endings)


def plan_labelme(root: Path, files: list[Fields]) -> Plan:
    """The plan for the JSON files below `root`. Raises `UserError`."""
    read = [(fields, *_shapes(fields), size_of(fields, "imageWidth", "imageHeight")) for fields in files]
    labels = {label for _, shapes, *_ in read for label, _ in shapes}
    named = sorted(labels - {*IGNORED_NAMES, *BACKGROUND_NAMES})
    classes = (BACKGROUND, *named)
    numbers = {name: i + 1 for i, name in enumerate(named)} | dict.fromkeys(IGNORED_NAMES, IGNORED)
    numbers |= dict.fromkeys(BACKGROUND_NAMES, 0)
    items = []
    for fields, shapes, _, size in read:
        relative = Path(fields.file).relative_to(root)
        name = flat_name(_below_split(relative))
        drawn = [(numbers[label], points) for label, points in shapes]
        items.append(Item(role_of(*relative.parts[:1]), name, _image_of(root, fields), partial(_draw, size, drawn)))
    left_out = sum(count for *_, count, _ in read)
    notes = [f"left out: {counted(left_out, 'shape')} without an area ({', '.join(LINES)})"] if left_out else []
    return Plan("labelme", classes, items, notes=notes)


def _below_split(relative: PurePath) -> PurePosixPath:
    """The path of a JSON file below the folder of its split."""
    parts = relative.parts[1:] if len(relative.parts) > 1 and role_of(relative.parts[0]) else relative.parts
    return PurePosixPath(path_in_set("/".join(parts)))


def _shapes(fields: Fields) -> tuple[list[Shape], int]:
    """(label, points N 2) of each shape with an area, in the order of the file, and the number of the others."""
    shapes: list[Shape] = []
    left_out = 0
    for shape in fields.objects("shapes"):
        label, kind = shape.text("label"), shape.value.get("shape_type") or "polygon"
        if kind in LINES:
            left_out += 1
            continue
        rows = shape.items("points")
        for i, row in enumerate(rows):
            if not isinstance(row, list) or len(row) != 2:
                shape.refuse(f"points[{i}]", "x and y", row)
        numbers = shape.numbers("points", [value for row in rows for value in row])
        if kind in ("rectangle", "circle"):
            if len(rows) != 2:
                shape.refuse("points", f"the two points of a {kind}", f"{len(rows)} points")
            first, last = numbers.reshape(2, 2)
            points = rectangle(first, last) if kind == "rectangle" else circle(first, last)
        elif kind == "polygon":
            points = polygon_of(shape, "points", numbers)
        else:
            shape.refuse("shape_type", "polygon, rectangle or circle", kind)
        shapes.append((label, points))
    return shapes, left_out


def _image_of(root: Path, fields: Fields) -> Path:
    """The image of a JSON file: that of its imagePath, or one of its name beside it. Raises `UserError`."""
    name = fields.text("imagePath").replace("\\", "/")
    given = (fields.file.parent / name).resolve() if "\0" not in name else root
    within = given.is_relative_to(root.resolve())
    demand(within, f"{fields.file}: imagePath is {brief(name)[:60]}, outside {root}", "correct the file")
    beside = fields.file.parent / Path(name).name
    found = next((path for path in (given, beside) if path.is_file()), None)
    if found is None:
        fields.refuse("imagePath", "an image that is there", name)
    assert found is not None
    return found


def _draw(size: Size, shapes: list[tuple[int, np.ndarray]]) -> np.ndarray:
    """The class numbers of an image: later shapes cover earlier ones."""
    mask = Image.new("L", size, 0)
    for number, points in shapes:
        fill_polygon(mask, points, number)
    return np.asarray(mask)
