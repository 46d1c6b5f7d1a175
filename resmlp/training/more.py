"""`train_more()`: more of a run, as a new run that starts from its last checkpoint."""

from dataclasses import replace
from pathlib import Path
from typing import Literal

from resmlp.config import Recipe
from resmlp.config.training import Origin
from resmlp.recipes import base_recipe, recipe_of_run
from resmlp.training.origin import last_whole_step
from resmlp.training.train import INDIFFERENT, Summary, recorded_recipe, train
from resmlp.utils.checks import demand
from resmlp.utils.serialization import difference, to_dict

Schedule = Literal["stretch", "restart"]

FREE = {
    *("model.drop_path", "model.dropout", "data.root", "data.batch_size", "data.workers", "data.strict"),
    *("data.crop_ratio", "data.interpolation", "data.exif", "data.value_range", "data.grids", "data.grid_order"),
    *("data.labels", "data.resample", "data.long_sentences"),
}
"""fields of the network and the data that may change; all others say what the network is, or what it has seen"""
TASK = {
    *("task.kind", "task.label_map", "task.ignore_index", "task.reduce_zero_label"),
    *("task.backbone", "task.width", "task.out_dim", "task.hidden", "task.bottleneck", "task.head_norm"),
}
"""fields of the task that may not change: they say what its labels mean, and what its network is"""
STEPS = {"data.batch_size", "augment.repeats"}
"""fields that change the number of steps of an epoch, and with it the place of a step in the schedule"""
IN_PLACE = INDIFFERENT | {"data.root", "data.labels"}
"""fields with which a run itself continues; its images may have moved"""


def train_more(
    run: str | Path, recipe: Recipe, out: str | Path | None = None, schedule: Schedule | None = None
) -> Summary | None:
    """Train by `recipe`, a change of the recipe of `run`, from its last checkpoint into the new run `out`.

    `schedule` is "stretch", the default, for the schedule that the run would have had with the new number of epochs,
    continued at its last step; or "restart" for a new one from step 0. `out` is the run's folder with the number of
    epochs behind it, such as runs/x-60; the same call again continues it. Where nothing has changed that matters, and
    there is neither `out` nor `schedule`, `run` itself continues. Returns what `train` does.

    Raises `UserError` for a change that a network cannot have in the middle of its training, as of its depth, its
    classes or its images, and as `train`.
    """
    run = Path(run)
    changes = difference(to_dict(base_recipe(run)), to_dict(recipe))
    fields = {change.split(":")[0]: change for change in changes}
    if out is None and schedule is None and fields.keys() <= IN_PLACE:
        return train(replace(recipe, model=recipe_of_run(run).model), run)
    schedule = schedule or "stretch"
    wrong = [change for field, change in fields.items() if _is_fixed(field)]
    what = f"more of {run} cannot have another {'; '.join(wrong[:3])}"
    demand(not wrong, what, f"--model {run} starts a new run from its weights")
    moved = [change for field, change in fields.items() if schedule == "stretch" and field in STEPS]
    hint = "--schedule restart begins a new one"
    demand(not moved, f"the schedule cannot be stretched with other steps in an epoch: {'; '.join(moved)}", hint)
    place = run.absolute()
    folder = Path(out) if out is not None else run.parent / f"{place.name}-{recipe.run.epochs}"
    demand(folder.absolute() != place, f"--out {folder} is the run itself", "choose another --out")
    return train(replace(recipe, origin=_origin(place, folder, schedule)), folder)


def _is_fixed(field: str) -> bool:
    return field == "kind" or field in TASK or (field.startswith(("model.", "data.")) and field not in FREE)


def _origin(run: Path, folder: Path, schedule: Schedule) -> Origin:
    """The origin of the run in `folder`: the last checkpoint, or the one that it started from if it continues."""
    recorded = recorded_recipe(folder)
    before = recorded.origin if recorded else None
    kept = before is not None and before.run == str(run)
    return Origin(str(run), before.step if before and kept else last_whole_step(run), schedule)
