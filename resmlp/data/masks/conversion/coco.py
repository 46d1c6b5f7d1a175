"""COCO: instances (polygons and run-length codes) and panoptic PNGs, by one JSON file for each part."""

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from resmlp.data.images.tree_files import short_list
from resmlp.data.masks.conversion.plan import BACKGROUND, Fields, Item, Plan, find_image, flat_name, inside, role_of
from resmlp.data.masks.conversion.shapes import Size, fill_polygon, polygon_of, run_lengths, size_of
from resmlp.data.masks.files import IGNORED, Color
from resmlp.imaging.decode import decode
from resmlp.imaging.image_file import File
from resmlp.utils.checks import demand
from resmlp.utils.errors import UserError

MAX_ID = 2**53
LISTS = ("images", "annotations", "categories")
"""fields of a file of COCO"""


def kind_of(value: dict[str, Any]) -> str:
    """coco-panoptic, coco-instances, or empty for a file of captions, boxes or anything else without masks."""
    if not has_lists(value):
        return ""
    notes = [note for note in value["annotations"] if isinstance(note, dict)]
    if any("segments_info" in note for note in notes):
        return "coco-panoptic"
    wrong = len(notes) < len(value["annotations"])  # the reader of instances says what is wrong
    return "coco-instances" if wrong or any("segmentation" in note for note in notes) else ""


def has_lists(value: dict[str, Any]) -> bool:
    """Whether a JSON object has the lists of COCO's files of instances, of boxes alone, or panoptic."""
    return all(isinstance(value.get(key), list) for key in LISTS)


def lacks_list(value: dict[str, Any]) -> bool:
    """Whether a JSON object has most of COCO's lists: the reader names the missing one."""
    return sum(isinstance(value.get(key), list) for key in LISTS) == len(LISTS) - 1


def plan_coco(layout: str, files: Iterable[Fields]) -> Plan:
    """The plan for files of one kind, which must have the same categories. Raises `UserError`."""
    files = list(files)
    for fields in files:
        for key in LISTS:
            fields.items(key)  # a missing list is named before what is wrong in another one
    parts = [role_of(fields.file.stem, fields.file.parent.name) for fields in files]
    same = len(set(parts)) < len(parts) or (len(parts) > 1 and "" in parts)
    names = short_list(str(fields.file) for fields in files)
    demand(not same, f"several files for one part: {names}", "give one of them, or keep one for train and one for val")
    tables = [_categories(fields) for fields in files]
    differ = any(table != tables[0] for table in tables)
    demand(not differ, f"the categories of {names} differ", "give one of them")
    ids = sorted(tables[0])
    panoptic = layout == "coco-panoptic"
    classes = [tables[0][number][0] for number in ids]
    if not panoptic and BACKGROUND not in classes:
        classes.insert(0, BACKGROUND)
        numbers = {number: i + 1 for i, number in enumerate(ids)}
    else:
        numbers = {number: i for i, number in enumerate(ids)}
    rest = None if panoptic else classes.index(BACKGROUND)
    items: list[Item] = []
    for fields, part in zip(files, parts):
        items += _panoptic(fields, part, numbers) if rest is None else _instances(fields, part, numbers, rest)
    colors = {name: color for name, color in tables[0].values() if color}
    return Plan(layout, tuple(classes), items, colors)


def _categories(fields: Fields) -> dict[int, tuple[str, Color | None]]:
    """From the id of a category to its name and its color."""
    table: dict[int, tuple[str, Color | None]] = {}
    for category in fields.objects("categories"):
        number = category.integer("id", 0, MAX_ID)
        if number in table:
            category.refuse("id", "the id of one category", number)
        color = category.value.get("color")
        valid = isinstance(color, list) and len(color) == 3 and all(type(c) is int and 0 <= c < 256 for c in color)
        table[number] = (category.text("name"), tuple(color) if valid else None)  # type: ignore[arg-type]
    return table


def _images(fields: Fields) -> dict[int, Fields]:
    images: dict[int, Fields] = {}
    for image in fields.objects("images"):
        number = image.integer("id", 0, MAX_ID)
        if number in images:
            image.refuse("id", "the id of one image", number)
        images[number] = image
    return images


def _folders(file: Path) -> list[Path]:
    """Where the images of a file of annotations may be."""
    word = file.stem.partition("_")[2]  # of instances_train2017
    tops = (file.parent, file.parent.parent)
    return [top / folder for top in tops for folder in ("images/" + word, word, "images", "")]


def _image_of(image: Fields, folders: list[Path]) -> tuple[Path, str, Size]:
    """The path of an image, a name for it, and its size. Raises `UserError`."""
    name = image.text("file_name")
    key = f"{image.path}.file_name"
    path = find_image(image.file, key, name, folders)
    return path, flat_name(inside(image.file, key, name)), size_of(image)


def _instances(fields: Fields, part: str, numbers: dict[int, int], rest: int) -> list[Item]:
    images, folders = _images(fields), _folders(fields.file)
    drawn: dict[int, list[tuple[int, Any]]] = {number: [] for number in images}
    sizes = {number: size_of(image) for number, image in images.items()}
    for note in fields.objects("annotations"):
        number = note.integer("image_id", 0, MAX_ID)
        if number not in images:
            note.refuse("image_id", "the id of an image", number)
        category = note.integer("category_id", 0, MAX_ID)
        if category not in numbers:
            note.refuse("category_id", "the id of a category", category)
        drawn[number].append((numbers[category], _outline(note, sizes[number])))
    items = []
    for number, image in images.items():
        path, name, size = _image_of(image, folders)
        items.append(Item(part, name, path, partial(_draw, size, rest, drawn[number])))
    return items


def _outline(note: Fields, size: Size) -> Any:
    """The polygons of an annotation, or a function that makes its pixels, from its run-length code."""
    code = note.value.get("segmentation")
    if isinstance(code, dict):
        inner = Fields(note.file, code, f"{note.path}.segmentation")
        counts, given = inner.value.get("counts"), inner.value.get("size")
        if given != [size[1], size[0]]:
            inner.refuse("size", f"[{size[1]}, {size[0]}], height and width of its image", given)
        if not isinstance(counts, str | list):
            counts = str(inner.refuse("counts", "a run-length code", counts))
        run_lengths(inner, "counts", counts, size)  # raises now, not after half of the masks are written
        return partial(run_lengths, inner, "counts", counts, size)
    if not isinstance(code, list):
        code = list(note.refuse("segmentation", "a list of polygons, or a run-length code", code))
    keys = [f"segmentation[{i}]" for i in range(len(code))]
    return [polygon_of(note, key, note.numbers(key, values)) for key, values in zip(keys, code)]


def _draw(size: Size, rest: int, shapes: list[tuple[int, Any]]) -> np.ndarray:
    """The class numbers of an image: later shapes cover earlier ones."""
    mask = Image.new("L", size, rest)
    for number, outline in shapes:
        if callable(outline):
            mask.paste(number, mask=Image.fromarray(outline()))
            continue
        for points in outline:
            fill_polygon(mask, points, number)
    return np.asarray(mask)


def _panoptic(fields: Fields, part: str, numbers: dict[int, int]) -> list[Item]:
    images, folders = _images(fields), _folders(fields.file)
    masks = [top / fields.file.stem for top in (fields.file.parent, fields.file.parent.parent)]
    items = []
    for note in fields.objects("annotations"):
        number = note.integer("image_id", 0, MAX_ID)
        if number not in images:
            note.refuse("image_id", "the id of an image", number)
        segments: dict[int, int] = {}
        for segment in note.objects("segments_info"):
            category = segment.integer("category_id", 0, MAX_ID)
            if category not in numbers:
                segment.refuse("category_id", "the id of a category", category)
            segments[segment.integer("id", 1, 2**24 - 1)] = numbers[category]
        path, name, _ = _image_of(images[number], folders)
        key = f"{note.path}.file_name"
        png = find_image(note.file, key, note.text("file_name"), masks)
        items.append(Item(part, name, path, partial(_read_panoptic, png, segments)))
    return items


def _read_panoptic(png: Path, segments: dict[int, int]) -> np.ndarray:
    """The class of each pixel, by the id of its segment: red + 256 green + 65,536 blue; 0 is ignored."""
    pixels = np.asarray(decode(str(png), File(str(png)).open)).astype(np.uint32)
    ids, places = np.unique(pixels[..., 0] + 256 * pixels[..., 1] + 65_536 * pixels[..., 2], return_inverse=True)
    unknown = [number for number in ids.tolist() if number and number not in segments]
    if unknown:
        raise UserError(f"{png} has the segment {unknown[0]}, which is not in its segments_info", "correct the file")
    table = np.array([segments[number] if number else IGNORED for number in ids.tolist()], np.uint8)
    return table[places].reshape(pixels.shape[:2])
