"""`convert_masks`: find the layout of a data set, and write it as images/, labels/, classes.txt and palette.txt."""

import shutil
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from resmlp.data.masks.classnames import LISTS, PALETTE
from resmlp.data.masks.conversion.coco import has_lists, kind_of, lacks_list, plan_coco
from resmlp.data.masks.conversion.labelme import is_beside_image, is_labelme, plan_labelme
from resmlp.data.masks.conversion.plan import Fields, Item, Plan
from resmlp.data.masks.conversion.png_masks import plan_city, plan_voc
from resmlp.data.masks.files import IGNORED, image_header
from resmlp.imaging.image_file import File
from resmlp.utils.checks import demand
from resmlp.utils.errors import UserError, counted, did_you_mean
from resmlp.utils.files import LOCK, only_writer, read_json, remove, write_json, write_text, write_whole

LAYOUTS = ("voc", "city", "coco-instances", "coco-panoptic", "labelme")
MAX_JSON = 2**30
"""bytes of a file of annotations; COCO's largest has 450 million"""
SOURCE = "conversion.json"
"""what was converted: another conversion into the same folder is refused"""
KNOWN = (
    "JPEGImages/ and SegmentationClass/ (VOC), leftImg8bit/ and gtFine/ (city), COCO's JSON files, or LabelMe's "
    "beside the images"
)
Progress = Callable[[int, int], Any]
"""called with (images done, images)"""


@dataclass(frozen=True)
class Converted:
    """What was written."""

    out: Path
    layout: str
    classes: tuple[str, ...]
    images: dict[str, int]
    """the number of each part; a data set without parts has one with an empty name"""
    written: int
    """images that were not there from an earlier call"""
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**vars(self), "out": str(self.out), "classes": list(self.classes), "notes": list(self.notes)}

    def __str__(self) -> str:
        parts = ", ".join(
            f"{counted(count, 'image')}{f' in {part}' if part else ''}" for part, count in self.images.items()
        )
        lines = [f"{self.out}: {parts}, {counted(len(self.classes), 'class')} ({self.layout})", *self.notes]
        return "\n".join([*lines, f"resmlp train scenes --data.source masks --data.root {self.out}"])


def convert_masks(
    root: str | Path,
    out: str | Path,
    *,
    layout: str | None = None,
    copy: bool = False,
    progress: Progress = lambda done, total: None,
) -> Converted:
    """Convert the masks of `root` into `out`; a call that was interrupted continues where it ended.

    Images are linked, or copied with `copy`. Raises `UserError` for a data set of no known layout, or with a fault in
    it; a file of `out` is always complete.
    """
    source, folder = Path(root), Path(out)
    demand(source.exists(), f"{root}: no such file or folder", "check the path")
    within = folder.resolve().is_relative_to(source.resolve()) and source.is_dir()
    demand(not within, f"--out {out} is inside {root}", "choose a folder beside it")
    plan = make_plan(source, layout)
    _check_items(plan, root)
    _check_out(folder, source, plan)
    with only_writer(folder, "converts masks into"):
        begun = _check_out(folder, source, plan)  # again: another process may have written meanwhile
        if not begun:
            write_json(folder / SOURCE, _about(source, plan))
        lines = [f"{number} {name}" for number, name in enumerate(plan.classes)]
        shades = [f"{number} {' '.join(map(str, color))}" for number, color in enumerate(plan.palette())]
        write_text(folder / LISTS[0], "\n".join(lines) + "\n")
        write_text(folder / PALETTE, "\n".join(shades) + "\n")
        written = 0
        for done, item in enumerate(plan.items, 1):
            try:
                written += _write(item, folder, plan, copy)
            except _RefusedError as refused:
                if not begun:
                    _empty(folder)
                raise refused.error from None
            progress(done, len(plan.items))
    counts = Counter(item.split for item in plan.items)
    return Converted(folder, plan.layout, plan.classes, dict(counts), written, tuple(plan.notes))


def make_plan(root: Path, layout: str | None) -> Plan:
    """What will be written for the data set at `root`, in the layout or in the one that is found."""
    hint = did_you_mean(layout or "", LAYOUTS)
    demand(layout is None or layout in LAYOUTS, f"--layout {layout} is not known", hint)
    wanted = layout or ""
    for top in [root, *_wrapped(root)] if root.is_dir() else ():
        if wanted in ("", "voc") and (top / "SegmentationClass").is_dir() and (top / "JPEGImages").is_dir():
            return plan_voc(top)
        if wanted in ("", "city") and (top / "leftImg8bit").is_dir() and (top / "gtFine").is_dir():
            return plan_city(top)
    by_kind = _annotations(root)
    if wanted:
        by_kind = {kind: files for kind, files in by_kind.items() if kind == wanted}
    demand(bool(by_kind), f"{root} has no masks{f' in the layout {wanted}' * bool(wanted)}", f"it needs {KNOWN}")
    demand(len(by_kind) == 1, f"{root} has {' and '.join(sorted(by_kind))}", "choose one with --layout")
    ((kind, values),) = by_kind.items()
    files = [Fields(file, value) for file, value in values]
    return plan_labelme(root, files) if kind == "labelme" else plan_coco(kind, files)


def _wrapped(root: Path) -> list[Path]:
    """The folders in which a data set may be packed, as in VOCdevkit/VOC2012."""
    inner = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    return inner + [deeper for path in inner for deeper in sorted(path.iterdir()) if deeper.is_dir()]


def _annotations(root: Path) -> dict[str, list[tuple[Path, Any]]]:
    """From each layout to the (file, content) of its JSON files at or below `root`.

    A file that is of no layout by its content, but lies beside an image or has COCO's lists, may be a wrong one. It is
    then among them, so that its reader names what is wrong: beside an image where no other layout is found, and a file
    of COCO, even without one of the lists, where nothing else is found.
    """
    files = [root] if root.is_file() else sorted(path for path in root.rglob("*.json") if not _is_hidden(path, root))
    sure: dict[str, list[tuple[Path, Any]]] = {}
    unsure: dict[str, list[tuple[Path, Any]]] = {}
    cut: list[tuple[Path, Any]] = []
    for file in files:
        value = read_json(file, MAX_JSON)
        if kind := _kind(value):
            sure.setdefault(kind, []).append((file, value))
        elif isinstance(value, dict) and has_lists(value):
            unsure.setdefault("coco-instances", []).append((file, value))
        elif is_beside_image(file):
            unsure.setdefault("labelme", []).append((file, value))
        elif isinstance(value, dict) and lacks_list(value):
            cut.append((file, value))
    if "labelme" in sure:
        sure["labelme"] += unsure.get("labelme", [])
    return sure or unsure or ({"coco-instances": cut[:1]} if cut else {})


def _kind(value: Any) -> str:
    """The layout of a JSON file by its content; empty for one that may belong to another program."""
    if not isinstance(value, dict):
        return ""
    return "labelme" if is_labelme(value) else kind_of(value)


def _is_hidden(path: Path, root: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(root).parts)


def _check_items(plan: Plan, root: str | Path) -> None:
    demand(bool(plan.items), f"{root} has no image with a mask", f"it needs {KNOWN}")
    seen: dict[tuple[str, str], Path] = {}
    for item in plan.items:
        key = (item.split, item.name.casefold())
        demand(key not in seen, f"{item.image} and {seen.get(key)} would both be called {item.name}", "rename one")
        seen[key] = item.image
    mixed = len({bool(item.split) for item in plan.items}) > 1
    demand(not mixed, f"some images of {root} are in train/ or val/, others in neither", "move them")


class _RefusedError(Exception):
    """A mask that cannot be read or does not fit its image; an error of the disk is none, a later call continues it."""

    def __init__(self, error: UserError):
        super().__init__(str(error))
        self.error = error


def _empty(folder: Path) -> None:
    """Remove what a conversion has written, and the folder if no hidden file is left in it."""
    for path in folder.iterdir():
        if path.name == LOCK or not path.name.startswith("."):
            remove(path)
    with suppress(OSError):
        folder.rmdir()


def _about(source: Path, plan: Plan) -> dict[str, Any]:
    return {"source": str(source.absolute()), "layout": plan.layout, "classes": list(plan.classes)}


def _check_out(folder: Path, source: Path, plan: Plan) -> bool:
    """Whether an earlier call has begun this conversion in the folder. Raises `UserError` for other content."""
    about, marker = _about(source, plan), folder / SOURCE
    if marker.is_file():
        same = read_json(marker) == about
        demand(same, f"--out {folder} holds the masks of another data set, or of other classes", "choose another --out")
        return True
    others = [path.name for path in folder.iterdir() if not path.name.startswith(".")] if folder.is_dir() else []
    demand(not others, f"--out {folder} is not empty: {others[:1]}", "choose a new folder")
    return False


def _write(item: Item, out: Path, plan: Plan, copy: bool) -> bool:
    """Write the mask, then the image, and return whether they were not there; an error leaves none of the two.

    Raises `_RefusedError` before it writes.
    """
    image = out / "images" / item.split / (item.name + item.image.suffix)
    mask = out / "labels" / item.split / f"{item.name}.png"
    if image.exists() and mask.is_file():
        return False
    try:
        numbers = _drawn(item)
    except UserError as error:
        raise _RefusedError(error) from None
    write_whole(mask, lambda aside: _index_image(numbers, plan).save(aside, format="png"))
    if copy:
        write_whole(image, lambda aside: shutil.copyfile(item.image, aside))
    else:
        write_whole(image, lambda aside: aside.symlink_to(item.image.absolute()))
    return True


def _drawn(item: Item) -> np.ndarray:
    """The class numbers of an image, uint8 H W. Raises `UserError` if they cannot be read, or have another size."""
    numbers = item.draw()
    size = image_header(File(str(item.image)), "apply").size
    stored = image_header(File(str(item.image)), "ignore").size
    if numbers.shape[::-1] not in (size, stored):
        sizes = "{} x {}".format(*size), "{1} x {0}".format(*numbers.shape)
        raise UserError(f"{item.image} is {sizes[0]} pixels, its mask {sizes[1]}", "width x height must be the same")
    return numbers


def _index_image(numbers: np.ndarray, plan: Plan) -> Image.Image:
    """A palette PNG: its pixels are the class numbers, its colors those of the classes."""
    image = Image.fromarray(numbers)
    shades = np.full((256, 3), IGNORED, np.uint8)
    shades[: len(plan.classes)] = plan.palette()
    image.putpalette(shades.tobytes())
    return image
