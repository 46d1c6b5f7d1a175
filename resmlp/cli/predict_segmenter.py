"""What `resmlp predict` makes of a segmenter: two images for each image, one to look at and one to compute with."""

import json
import sys
from collections import Counter
from collections.abc import Sequence
from os.path import realpath  # unlike resolve(), at ease with links that lead in circles
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resmlp.utils.checks import demand
from resmlp.utils.errors import UserError
from resmlp.utils.files import write_whole

if TYPE_CHECKING:
    from PIL.Image import Image

    from resmlp.inference.segmenter import Labeller

OUT = Path("predictions")
OVERLAY, LABELS = "-overlay.png", "-labels.png"
MOST_CLASSES = 255  # that an image of numbers can hold, beside that of no class
NAMED = 6  # classes of a line


def label_files(model: str, files: Sequence[str], out: Path, device: str, quiet: bool) -> dict[str, Any]:
    """Write NAME-overlay.png and NAME-labels.png of each file into `out`, and, unless `quiet`, print a line for each.

    Raises the `UnreadableImage` of the last of those that cannot be read, after all others are written.
    """
    from resmlp.data import UnreadableImage
    from resmlp.imaging.image_file import File
    from resmlp.inference.segmenter import Labeller, open_segmenter
    from resmlp.utils.devices import find_device

    demand(not out.exists() or out.is_dir(), f"--out {out} is a file", "give a folder")
    names = output_names(files, out)
    saved = open_segmenter(model)
    many = f"{model} has {len(saved.card.classes)} classes"
    demand(len(saved.card.classes) <= MOST_CLASSES, many, f"a PNG of labels holds {MOST_CLASSES} at most")
    labeller = Labeller(saved.model, saved.card, find_device(device))
    found: list[dict[str, Any]] = []
    broken: list[UnreadableImage] = []
    for file, name in names.items():
        try:
            image = File(file).read()
        except UnreadableImage as error:
            broken.append(error)
            continue
        found.append({"file": file, **write_labeled(labeller, image, out, name)})
        if not quiet:
            print(in_words(found[-1]), flush=True)
    result = {"predictions": found, "unreadable": [error.name for error in broken]}
    if broken:
        if quiet:
            print(json.dumps(result, ensure_ascii=False))
        for failure in broken[:-1]:
            print(f"error: {failure}", file=sys.stderr)
        raise broken[-1]
    return result


def write_labeled(labeller: "Labeller", image: "Image", out: Path, name: str) -> dict[str, Any]:
    """Label an RGB image and write both files; returns their paths and the share of each class that occurs."""
    from resmlp.analysis.overlay import colors, indexed, overlay, shares, with_legend

    labels, shades = labeller.read(image), colors(labeller.card)
    shown, shade = shares(labels, labeller.classes), dict(zip(labeller.classes, shades))
    images = {
        OVERLAY: with_legend(overlay(image, labels, shades), [(label, shade[label]) for label in shown]),
        LABELS: indexed(labels, shades),
    }
    for ending, output in images.items():
        write_whole(out / (name + ending), lambda aside, output=output: output.save(aside, format="png"))  # type: ignore[misc]
    return {"overlay": str(out / (name + OVERLAY)), "labels": str(out / (name + LABELS)), "shares": shown}


def in_words(prediction: dict[str, Any]) -> str:
    """A line for people: the overlay, and the share of each of the largest classes."""
    parts = [f"{label} {share:.3f}" for label, share in prediction["shares"].items()]
    more = f", and {len(parts) - NAMED} more" if len(parts) > NAMED else ""
    return f"{prediction['overlay']}: {', '.join(parts[:NAMED])}{more}"


def output_names(files: Sequence[str], out: Path) -> dict[str, str]:
    """File -> what its outputs are called after: its name without the ending, and with its folder's where two agree.

    No two are alike, also where a disk takes A and a for the same. What an earlier prediction wrote into `out` is left
    out. Raises `UserError` where nothing is left, or where an output would take the place of one of the files.
    """
    images = [file for file in dict.fromkeys(files) if not _is_output(Path(file), out)]
    demand(bool(images), f"all the images are predictions in {out}", "give others, or another --out")
    stems = Counter(Path(file).stem.casefold() for file in images)
    names, taken = dict[str, str](), set[str]()
    for file in images:
        path = Path(file)
        name = path.stem if stems[path.stem.casefold()] == 1 else f"{path.absolute().parent.name}-{path.stem}"
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


def _is_output(path: Path, out: Path) -> bool:
    return path.name.endswith((OVERLAY, LABELS)) and realpath(path.parent) == realpath(out)
