"""The files of a segmentation: one image to look at, and one whose pixels are class numbers."""

from collections import Counter
from collections.abc import Sequence
from os.path import realpath  # unlike resolve(), it accepts links that lead in circles
from pathlib import Path

from PIL import Image

from resmlp.analysis.fonts import class_labels
from resmlp.analysis.overlay import add_legend, label_image, overlay
from resmlp.data.masks.classnames import palette
from resmlp.inference.segmentation import Segmentation
from resmlp.utils.checks import demand
from resmlp.utils.errors import UserError
from resmlp.utils.files import write_whole

OVERLAY, LABELS = "-overlay.png", "-labels.png"
MOST_CLASSES = 255  # that a PNG of class numbers holds, beside the number of no class


def write_segmentation(result: Segmentation, image: Image.Image, out: Path, name: str) -> dict[str, str]:
    """Write NAME-overlay.png and NAME-labels.png of an RGB image into `out`; returns their paths.

    Raises `UserError` for more classes than a PNG of class numbers holds.
    """
    many = f"the model has {len(result.classes)} classes"
    demand(len(result.classes) <= MOST_CLASSES, many, f"a PNG of class numbers holds at most {MOST_CLASSES}")
    shades = result.palette or palette(len(result.classes))
    entry = dict(zip(result.classes, zip(class_labels(result.classes), shades)))
    legend = [entry[name] for name in result.shares()]
    images = {
        OVERLAY: add_legend(overlay(image, result.labels, shades), legend),
        LABELS: label_image(result.labels, shades),
    }
    for ending, output in images.items():
        write_whole(out / (name + ending), lambda aside, output=output: output.save(aside, format="png"))  # type: ignore[misc]
    return {"overlay": str(out / (name + OVERLAY)), "labels": str(out / (name + LABELS))}


def output_names(files: Sequence[str], out: Path, given: Sequence[str] = ()) -> dict[str, str]:
    """File -> the name of its outputs: its own without the ending, and with its folder's where two agree.

    A file below one of the folders `given` keeps its path in it: a/b/x.jpg has the name a/b/x. No two are alike, also
    where a disk takes A and a for the same. Outputs of an earlier prediction into `out` are left out. Raises
    `UserError` where nothing is left, or where an output would replace one of the files.
    """
    images = [file for file in dict.fromkeys(files) if not _is_output(Path(file), out)]
    demand(bool(images), f"all the images are predictions in {out}", "give others, or another --out")
    folders = [folder for folder in map(Path, given) if folder.is_dir()]
    roots = {file: next((folder for folder in folders if folder in Path(file).parents), None) for file in images}
    inner = {file: _path_in(Path(file), root) for file, root in roots.items()}
    uses = Counter(name.casefold() for name in inner.values())
    names, taken = dict[str, str](), set[str]()
    for file in images:
        name, folder = inner[file], (roots[file] or Path(file).parent).absolute().name
        if uses[name.casefold()] > 1:
            name = f"{folder}/{name}" if "/" in name else f"{folder}-{name}"
        number, first = 1, name
        while name.casefold() in taken:
            number += 1
            name = f"{first}-{number}"
        names[file] = name
        taken.add(name.casefold())
    written = {realpath(out / (name + ending)) for name in names.values() for ending in (OVERLAY, LABELS)}
    for file in images:
        if realpath(file) in written:
            raise UserError(f"{file} would be replaced by a prediction", "choose another --out")
    return names


def _path_in(file: Path, root: Path | None) -> str:
    """The path of a file in a folder without its ending; without a folder, its name."""
    return file.stem if root is None else file.relative_to(root).with_suffix("").as_posix()


def _is_output(path: Path, out: Path) -> bool:
    return path.name.endswith((OVERLAY, LABELS)) and Path(realpath(path.parent)).is_relative_to(realpath(out))
