"""`cross_validate()`: a run for each fold of the training images, and the mean and the spread of their scores."""

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from resmlp.config import ImageRecipe, Recipe
from resmlp.config.tasks import Distill
from resmlp.data.images.image_list import read_image_list, some
from resmlp.recipes import open_recipe
from resmlp.tasks import complete
from resmlp.training.train import Summary, check_same_recipe, recorded_recipe, train
from resmlp.utils.checks import demand
from resmlp.utils.console import console
from resmlp.utils.files import only_writer, write_json
from resmlp.utils.logger import show_table
from resmlp.utils.run_folder import FOLDS, RECIPE, SUMMARY, fold_path

NOT_SCORES = {"weights", "epoch", "step"}


@dataclass(frozen=True)
class CrossValidation:
    """The scores of the folds, as in folds.json."""

    folds: int
    best: tuple[dict[str, Any], ...]
    """the best evaluation of each finished fold, as in its summary.json"""
    last: tuple[dict[str, Any], ...]
    """the evaluation of each fold after its last step, of the weights that were saved: no epoch was chosen by it"""

    @classmethod
    def of(cls, folds: int, summaries: Sequence[Summary]) -> "CrossValidation":
        """The scores of the finished runs of `folds`."""
        last = tuple(summary.last[summary.weights] for summary in summaries)
        return cls(folds, tuple(summary.best for summary in summaries), last)

    def to_dict(self) -> dict[str, Any]:
        """The contents of folds.json: `mean` and `std` are those of `best`."""
        values = {"folds": self.folds, "finished": len(self.best)} | spread(self.best)
        return values | {
            "last": spread(self.last),
            "runs": [{"best": b, "last": n} for b, n in zip(self.best, self.last)],
        }

    def rows(self) -> list[tuple[str, str]]:
        """A line for each fold, then the mean and the standard deviation of each score, at the best and at the end."""
        rows = [(f"fold {i}", _scores_text(best)) for i, best in enumerate(self.best)]
        for name, entries in (("best", self.best), ("last", self.last)):
            values = spread(entries)
            text = (f"{key} {mean:.4f} ± {values['std'][key] or 0:.4f}" for key, mean in values["mean"].items())
            rows.append((f"{name}, mean", "  ".join(text)))
        return rows


def spread(entries: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The mean of each score over evaluations, and the sample standard deviation: None for a single evaluation."""
    names = [key for key in entries[0] if key not in NOT_SCORES] if entries else []
    values = {name: [float(entry[name]) for entry in entries] for name in names}
    return {
        "mean": {name: fmean(scores) for name, scores in values.items()},
        "std": {name: stdev(scores) if len(scores) > 1 else None for name, scores in values.items()},
    }


def cross_validate(recipe: Recipe | str, out: str | Path | None = None) -> CrossValidation | None:
    """Train a run for each of the `data.folds` of the recipe, into `out`/fold-0 and so on (default `runs/NAME`).

    Finished folds are skipped and an interrupted one continues. folds.json has the scores of those that are finished.
    Returns them in the first process, None in the others. Raises `UserError` and `KeyboardInterrupt` as `train`, and
    `UserError` if a fold in the folder was trained with other settings or on other images.
    """
    recipe = open_recipe(recipe) if isinstance(recipe, str) else recipe
    folds = recipe.data.folds if isinstance(recipe, ImageRecipe) else 0
    demand(folds > 1, f"the recipe {recipe.name} has no folds", "give --data.folds, for example 5")
    assert isinstance(recipe, ImageRecipe)
    folder = Path(out or f"runs/{recipe.name}")
    demand(
        not (folder / RECIPE).exists(),
        f"{folder} is a run, not a folder for the runs of all folds",
        "choose another --out",
    )
    parts = [fold_recipe(recipe, fold) for fold in range(folds)]
    paths = [fold_path(folder, fold) for fold in range(folds)]
    for part, path in zip(parts, paths):  # all are checked before the first is trained
        check_same_recipe(complete(part, recorded_recipe(path)), path)
    first = int(os.environ.get("RANK", "0")) == 0
    with only_writer(folder, "cross-validates into") if first else contextlib.nullcontext():
        for fold, (part, path) in enumerate(zip(parts, paths)):
            if not (path / SUMMARY).is_file():
                if first:
                    console.print(f"fold {fold} of {folds}")
                train(part, path)
            if first:
                check_folds(paths[: fold + 1])
                result = CrossValidation.of(folds, [Summary.read(path) for path in paths[: fold + 1]])
                write_json(folder / FOLDS, result.to_dict())
    if not first:
        return None
    show_table(f"{recipe.name}: {folds} folds -> {folder}", result.rows())
    return result


def fold_recipe(recipe: ImageRecipe, fold: int) -> ImageRecipe:
    """The recipe of one fold. A teacher's outputs are cached for each fold: the images have other places in it."""
    task = recipe.task
    if isinstance(task, Distill) and task.cache is not None:
        task = replace(task, cache=str(fold_path(Path(task.cache), fold)))
    return replace(recipe, data=replace(recipe.data, fold=fold), task=task)


def check_folds(paths: Sequence[Path]) -> None:
    """Raise `UserError` unless the runs have the same images, each of which is held out by one of them at most."""
    lists = [kept for path in paths if (kept := read_image_list(path))]
    every = [{entry.path for entry in kept.entries} for kept in lists]
    held: set[str] = set()
    for path, kept, images in zip(paths, lists, every):
        own = {entry.path for entry in kept.val}
        changed = sorted((images ^ every[0]) | (own & held))
        what = f"the images of {path} are not those of {paths[0]}, or are held out by another fold: {some(changed)}"
        demand(not changed, what, "restore the images and remove this folder, or choose another --out")
        held |= own


def _scores_text(entry: dict[str, Any]) -> str:
    return "  ".join(f"{key} {value:.4f}" for key, value in entry.items() if key not in NOT_SCORES)
