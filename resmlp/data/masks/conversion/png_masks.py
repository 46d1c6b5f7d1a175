"""Data sets whose masks are PNG files already: Pascal VOC's layout, and Cityscapes'."""

import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np

from resmlp.data.masks.classnames import palette
from resmlp.data.masks.conversion.plan import Item, Plan, role_of
from resmlp.data.masks.files import IGNORED, Color, Colors, read_numbers
from resmlp.imaging.file_types import ENDINGS
from resmlp.imaging.image_file import File
from resmlp.utils.checks import demand
from resmlp.utils.errors import UserError, printable

VOC_CLASSES = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
LABEL_MAP = "labelmap.txt"
"""of CVAT and Datumaro: NAME:RED,GREEN,BLUE:PARTS:ACTIONS"""
CITY: dict[str, tuple[int, Color]] = {
    "road": (7, (128, 64, 128)),
    "sidewalk": (8, (244, 35, 232)),
    "building": (11, (70, 70, 70)),
    "wall": (12, (102, 102, 156)),
    "fence": (13, (190, 153, 153)),
    "pole": (17, (153, 153, 153)),
    "traffic light": (19, (250, 170, 30)),
    "traffic sign": (20, (220, 220, 0)),
    "vegetation": (21, (107, 142, 35)),
    "terrain": (22, (152, 251, 152)),
    "sky": (23, (70, 130, 180)),
    "person": (24, (220, 20, 60)),
    "rider": (25, (255, 0, 0)),
    "car": (26, (0, 0, 142)),
    "truck": (27, (0, 0, 70)),
    "bus": (28, (0, 60, 100)),
    "train": (31, (0, 80, 100)),
    "motorcycle": (32, (0, 0, 230)),
    "bicycle": (33, (119, 11, 32)),
}
"""the evaluated classes of Cityscapes in the order of their trainId, with their id and their color"""
CITY_IDS = 34
"""numbers of labelIds; those of no evaluated class are ignored"""
TRAIN_IDS, IDS = "_gtFine_labelTrainIds.png", "_gtFine_labelIds.png"
LEFT = "_leftImg8bit"


def plan_voc(root: Path) -> Plan:
    """The plan for JPEGImages/, SegmentationClass/ and ImageSets/Segmentation/*.txt. Raises `UserError`."""
    named = _label_map(root / LABEL_MAP)
    classes = tuple(named) or VOC_CLASSES
    shades = list(named.values()) or [(0, 0, 0), *palette(len(VOC_CLASSES) - 1)]
    colors: Colors = [*enumerate(shades), (IGNORED, (224, 224, 192))]
    table = {number: number for number in range(len(classes))} | {IGNORED: IGNORED}
    items = []
    for part, names in _voc_lists(root).items():
        for name in names:
            mask = root / "SegmentationClass" / f"{name}.png"
            demand(mask.is_file(), f"no mask {mask}", f"it is listed in {root}/ImageSets/Segmentation")
            read = partial(read_mapped, mask, table, colors, "the classes of Pascal VOC, or of labelmap.txt")
            items.append(Item(part, name, _voc_image(root, name), read))
    return Plan("voc", classes, items, dict(zip(classes, shades)))


def _voc_lists(root: Path) -> dict[str, list[str]]:
    """The names of each part; all masks where there are no lists."""
    lists = {path.stem: path for path in sorted((root / "ImageSets" / "Segmentation").glob("*.txt"))}
    parts = {part: lists[part] for part in ("train", "val") if part in lists}
    if not parts:
        return {"": sorted(path.stem for path in (root / "SegmentationClass").glob("*.png"))}
    names: dict[str, list[str]] = {}
    for part, path in parts.items():
        try:
            lines = path.read_text("utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"cannot read {path}: {error}", "save it as UTF-8 text") from error
        names[part] = [line.split()[0] for line in lines if line.strip()]
        for name in names[part]:
            plain = not set("/\\\0") & set(name) and name not in ("..", ".")
            demand(plain, f"{path} names {printable(name)[:60]}", "a line is a name without folder and ending")
    both = sorted(set(names.get("train", ())) & set(names.get("val", ())))
    demand(not both, f"{parts['val']} and train.txt both name {both[:1]}", "keep it in one of them")
    return names


def _voc_image(root: Path, name: str) -> Path:
    candidates = [root / "JPEGImages" / (name + ending) for ending in ENDINGS]
    found = next((path for path in candidates if path.is_file()), None)
    if found is None:
        raise UserError(f"no image {candidates[0]}", "it is listed in ImageSets/Segmentation, or has a mask")
    return found


def _label_map(file: Path) -> dict[str, Color]:
    """From name to color, of labelmap.txt; empty without the file. Raises `UserError`."""
    if not file.is_file():
        return {}
    named: dict[str, Color] = {}
    for number, line in enumerate(file.read_text("utf-8-sig", errors="replace").splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        row = re.fullmatch(r"([^:]+):(\d{1,3}),(\d{1,3}),(\d{1,3})(?::.*)?", line.strip())
        valid = row is not None and all(int(value) < 256 for value in row.groups()[1:]) and row[1] not in named
        demand(valid, f"{file}, line {number}: {printable(line)[:60]}", "a line is NAME:RED,GREEN,BLUE:PARTS:ACTIONS")
        assert row is not None
        named[row[1]] = (int(row[2]), int(row[3]), int(row[4]))
    demand(len(set(named.values())) == len(named), f"{file} gives one color to two classes", "change one of them")
    return named


def plan_city(root: Path) -> Plan:
    """The plan for leftImg8bit/PART/CITY and gtFine/PART/CITY; the test set, which has no labels, is left out."""
    items: list[Item] = []
    left_out = 0
    for part in sorted(path for path in (root / "leftImg8bit").iterdir() if path.is_dir()):
        role = role_of(part.name)
        if part.name.startswith("test") or not role:
            left_out += 1
            continue
        for image in sorted(part.glob(f"*/*{LEFT}.png")):
            stem = image.stem.removesuffix(LEFT)
            folder = root / "gtFine" / part.name / image.parent.name
            items.append(Item(role, stem, image, _city_reader(folder, stem)))
    notes = ["left out: folders of images without labels, such as test/"] * bool(left_out)
    return Plan("city", tuple(CITY), items, {name: color for name, (_, color) in CITY.items()}, notes)


def _city_reader(folder: Path, stem: str) -> "partial[np.ndarray]":
    by_train_id, by_id = folder / f"{stem}{TRAIN_IDS}", folder / f"{stem}{IDS}"
    if by_train_id.is_file():
        table = {i: i for i in range(len(CITY))} | {IGNORED: IGNORED}
        return partial(read_mapped, by_train_id, table, (), "a trainId of Cityscapes")
    demand(by_id.is_file(), f"no mask {by_id}", "download gtFine, or leave the image out")
    table = dict.fromkeys(range(CITY_IDS), IGNORED) | {number: i for i, (number, _) in enumerate(CITY.values())}
    return partial(read_mapped, by_id, table, (), "an id of Cityscapes")


def read_mapped(mask: Path, table: Mapping[int, int], colors: Colors, known: str) -> np.ndarray:
    """The numbers of a mask by a table, uint8 H W. Raises `UserError` for a number that is not in it."""
    numbers = read_numbers(File(str(mask)), colors)
    unknown = [number for number in np.unique(numbers).tolist() if number not in table]
    demand(not unknown, f"{mask} has label {unknown[:1]}, which is none of {known}", "correct the mask")
    lookup = np.zeros(max(table) + 1, np.uint8)
    lookup[list(table)] = list(table.values())
    return lookup[numbers]
