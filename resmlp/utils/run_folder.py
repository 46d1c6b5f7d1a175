"""The layout of a run folder: names of its files, and of the files of a checkpoint. Loads no torch."""

import os
from itertools import count
from pathlib import Path

from resmlp.utils.errors import UserError
from resmlp.utils.files import check_file

RECIPE, SUMMARY, METRICS = "recipe.json", "summary.json", "metrics.jsonl"
WEIGHTS, CONFIG = "model.safetensors", "model.json"
REPORT, FIGURES = "report.html", "figures"
IMAGES = "images.tsv"
"""the images that a run holds out and trains on (`resmlp.data.images.image_list`)"""
FOLDS = "folds.json"
"""the scores of all runs of a cross-validation, in the folder of their run folders"""
COMPRESSION = "compress.json"
"""next to weights that `resmlp compress` wrote"""
CHECKPOINTS = "checkpoints"
OPTIMIZER, PROGRESS = "optimizer.pt", "progress.json"
AVERAGES = {"ema": "--run.ema", "avg": "--run.average"}
"""kinds of averaged weights -> the field with which a run keeps them"""


def check_layout(folder: Path) -> None:
    """Raise `UserError` where a run in `folder` could not write its files, because something else has their names."""
    for name in (RECIPE, SUMMARY, METRICS, WEIGHTS, CONFIG, REPORT, IMAGES):
        if os.path.lexists(folder / name):
            check_file(folder / name)
    for name in (CHECKPOINTS, FIGURES):
        if os.path.lexists(folder / name) and not (folder / name).is_dir():
            raise UserError(f"{folder / name} is not a folder", "move it away, or choose another --out")


def fold_path(folder: Path, fold: int) -> Path:
    """The run folder of a fold, in the folder of a cross-validation."""
    return folder / f"fold-{fold}"


def checkpoint_path(folder: Path, step: int) -> Path:
    """The folder of the checkpoint of an optimizer step, in the run folder `folder`."""
    return folder / CHECKPOINTS / f"step-{step:08d}"


def checkpoint_steps(folder: Path) -> list[int]:
    """The optimizer steps of the complete checkpoints of a run, in order."""
    return sorted(int(path.name[5:]) for path in (folder / CHECKPOINTS).glob("step-" + "[0-9]" * 8))


def checkpoint_weights(checkpoint: Path, kind: str) -> Path:
    """The file of one kind of weights in a checkpoint: raw, ema, avg, or a module that a task saves."""
    return checkpoint / f"{kind}.safetensors"


def damaged_path(folder: Path, step: int) -> Path:
    """Where the damaged checkpoint of a step is set aside: a name that is free."""
    name = f"damaged-{step:08d}"
    paths = (folder / CHECKPOINTS / (name if number == 1 else f"{name}-{number}") for number in count(1))
    return next(path for path in paths if not os.path.lexists(path))


def checkpoint_leftovers(folder: Path) -> list[Path]:
    """What interrupted writes of checkpoints left in a run folder."""
    return list((folder / CHECKPOINTS).glob(".step-*.part"))
