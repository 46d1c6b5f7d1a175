"""The start of a run from the last checkpoint of another one: weights, averages, and the state of the optimizer."""

import math
from dataclasses import replace
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import nn

from resmlp.config import Recipe
from resmlp.config.training import Origin
from resmlp.models.weights import read_tensors
from resmlp.recipes import recipe_of_run
from resmlp.training.checkpoint import Checkpoints, Progress, find_damage, read_progress
from resmlp.utils.checks import demand
from resmlp.utils.devices import all_gather
from resmlp.utils.errors import UserError
from resmlp.utils.run_folder import AVERAGES, OPTIMIZER, checkpoint_path, checkpoint_steps, checkpoint_weights
from resmlp.utils.serialization import difference, to_dict

Tensors = dict[str, torch.Tensor]


def earlier_steps(origin: Origin | None) -> int:
    """The steps of the weights before a run that counts its own from 0."""
    return origin.step if origin and origin.schedule == "restart" else 0


def last_whole_step(run: Path) -> int:
    """The step of the last whole checkpoint of a run, in which nothing is changed. Raises `UserError`."""
    damage = ""
    for step in reversed(checkpoint_steps(run)):
        damage = find_damage(checkpoint_path(run, step), step, math.inf)
        if not damage:
            return step
    reason = f"no whole checkpoint: {damage}" if damage else "no checkpoint yet"
    raise UserError(f"{run} has {reason}", "continue that run first")


def start_from(recipe: Recipe, checkpoints: Checkpoints, total: int) -> tuple[Progress, str]:
    """Load the checkpoint of `recipe.origin` into the modules and the optimizer of a new run of `total` steps.

    Averages that the other run does not have begin with its weights. The state of the optimizer is taken over if it is
    the same optimizer. Returns the progress at the start (that of the other run, or step 0 with a new schedule), and a
    line that says what was taken over. Raises `UserError` if the weights do not fit, and if all steps are done already.
    """
    origin = recipe.origin
    assert origin is not None
    run, step = Path(origin.run), all_gather(origin.step)[0]
    path, stretch = checkpoint_path(run, step), origin.schedule == "stretch"
    done = f"{run} is at step {step:,}, and --run.epochs {recipe.run.epochs} are {total:,} steps"
    demand(not stretch or step < total, done, "give more epochs, or --schedule restart")
    old = recipe_of_run(run)
    modules, taken = checkpoints.modules, ["weights"]
    try:
        progress = read_progress(path)
        tensors = {name: read_tensors(file) for name in modules if (file := checkpoint_weights(path, name)).is_file()}
        state = torch.load(path / OPTIMIZER, map_location="cpu", weights_only=True)
    except (UserError, OSError, EOFError, RuntimeError, UnpicklingError) as error:
        raise UserError(f"cannot start from {path}: {error}", "run the same command again, or restore it") from None
    for name in ("raw", "task"):
        if name in modules:
            _load(modules[name], tensors.get(name, {}), path, recipe, old)
    for kind in AVERAGES:
        if kind in modules and _load_average(kind, modules, tensors):
            taken.append(kind)
    if _same_optimizer(recipe, old) and _load_optimizer(checkpoints.optimizer, state):
        taken.append("optimizer")
    text = f"starting from {path}: {', '.join(taken)}; {_schedule_text(recipe, step, total)}"
    start = Progress(step, progress.seconds) if stretch else Progress()
    return replace(start, notes=progress.notes), text


def _schedule_text(recipe: Recipe, step: int, total: int) -> str:
    """What happens to the schedule."""
    epochs = recipe.run.epochs
    if recipe.origin and recipe.origin.schedule == "restart":
        return f"a new schedule of {epochs} epochs begins"
    return f"the schedule is that of {epochs} epochs from the beginning, continued after step {step:,} of {total:,}"


def _load(module: nn.Module, tensors: Tensors, path: Path, recipe: Recipe, old: Recipe) -> None:
    """Load all tensors; raises `UserError` that names the first one that differs, and the fields that do."""
    if differs := _misfit(module, tensors):
        changes = [c for c in difference(to_dict(old), to_dict(recipe)) if c.startswith(("task.", "data.", "model."))]
        why = f"changed: {'; '.join(changes[:3])}" if changes else "the data has other classes"
        raise UserError(f"the network does not fit {path}: {differs}", why)
    module.load_state_dict(tensors)


def _misfit(module: nn.Module, tensors: Tensors) -> str:
    """The first tensor of a module whose shape differs, or that one side lacks; empty if there is none."""
    saved, own = (
        {n.replace(".", "/"): tuple(t.shape) for n, t in side.items()} for side in (tensors, module.state_dict())
    )
    lines = difference(saved, own)
    return lines[0].replace("/", ".") if lines else ""


def _load_average(kind: str, modules: dict[str, nn.Module], tensors: dict[str, Tensors]) -> bool:
    """Load an average with its state; returns False, and begins it with the weights, if the other run has none."""
    parts = [name for name in (kind, f"{kind}-state") if name in modules]
    if all(name in tensors and not _misfit(modules[name], tensors[name]) for name in parts):
        for name in parts:
            modules[name].load_state_dict(tensors[name])
        return True
    modules[kind].load_state_dict(modules["raw"].state_dict())
    return False


def _same_optimizer(recipe: Recipe, old: Recipe) -> bool:
    """Whether the parameters are in the same groups of the same optimizer."""
    now, before = ((r.optim.name, r.optim.layer_decay) for r in (recipe, old))
    return now == before


def _load_optimizer(optimizer: torch.optim.Optimizer, saved: dict[str, Any]) -> bool:
    """Take over the state of each parameter, if the groups are the same; the settings stay those of the new run."""
    own = optimizer.state_dict()
    if [len(group["params"]) for group in own["param_groups"]] != [len(g["params"]) for g in saved["param_groups"]]:
        return False
    # LAMB counts its steps in the group
    groups = [{**before, **now} for before, now in zip(saved["param_groups"], own["param_groups"])]
    optimizer.load_state_dict({"state": saved["state"], "param_groups": groups})
    return True
