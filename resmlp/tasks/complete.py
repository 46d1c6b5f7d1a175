"""Complete a recipe before training: take the network and the preprocessing from its checkpoint."""

from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from resmlp.config import ImageRecipe, Recipe, TextRecipe
from resmlp.config.data import INHERITED
from resmlp.config.model_json import ModelConfig
from resmlp.config.preprocessing import Preprocessing
from resmlp.config.pretrained import HUB
from resmlp.config.tasks import Dino, Distill, Segment
from resmlp.config.vision import Architecture
from resmlp.hub.names import on_disk
from resmlp.hub.resolve import resolve
from resmlp.models import preprocessing_of
from resmlp.models.weights import read_tensors
from resmlp.utils.address import is_address
from resmlp.utils.devices import find_device
from resmlp.utils.errors import UserError
from resmlp.utils.files import exists
from resmlp.utils.hardware import device_precisions

R = TypeVar("R", bound=Recipe)
CHECKPOINT, TEACHER = "--model.checkpoint", "--task.teacher"


def complete(recipe: R, recorded: Recipe | None = None) -> R:
    """The recipe with absolute paths, its precision, the network of its checkpoint, and the sizes of its images.

    A complete recipe is returned unchanged. `recorded`, the complete recipe of the run to continue, stands in for a
    checkpoint of that run that is gone. Raises `UserError` if the checkpoint is missing, does not name its network, or
    does not fit.
    """
    recipe = replace(recipe, run=replace(recipe.run, precision=_precision(recipe, recorded)))
    if isinstance(recipe, ImageRecipe):
        return _complete_images(recipe, recorded)
    assert isinstance(recipe, TextRecipe)
    data = replace(recipe.data, root=absolute(recipe.data.root), tokenizer=absolute(recipe.data.tokenizer))
    checkpoint = local(CHECKPOINT, recipe.model.checkpoint, recorded)
    return replace(recipe, data=data, model=replace(recipe.model, checkpoint=checkpoint))


def _precision(recipe: Recipe, recorded: Recipe | None) -> Any:
    """fp32 or bf16: for auto that of the run to continue, or the lowest that the device has."""
    if recipe.run.precision != "auto":
        return recipe.run.precision
    if recorded is not None:
        return recorded.run.precision
    return device_precisions(find_device(recipe.run.device).type)[-1]


def _complete_images(recipe: ImageRecipe, recorded: Recipe | None) -> Any:
    task, model = recipe.task, recipe.model
    data = replace(recipe.data, root=absolute(recipe.data.root), labels=absolute(recipe.data.labels))
    if isinstance(task, Distill):
        teacher = local(TEACHER, task.teacher, recorded) or task.teacher
        task = replace(task, teacher=teacher, cache=absolute(task.cache))
    backbone = task.backbone if isinstance(task, Segment) else None
    gone = None
    if not backbone:
        start = local("--model" if model.names_weights else CHECKPOINT, model.start, recorded)
        gone = recorded if start in lost(recorded).values() else None
        if model.known:
            model = replace(model, name=model.known, checkpoint=start)
        else:
            name, architecture = gone.model.network() if gone else _network_of(start)
            model = model.completed(name, architecture, start)
    if any(getattr(data, key) is None for key in INHERITED):
        seen = gone.data.preprocessing() if gone else preprocessing_of(model, backbone)
        data = data.completed(seen or Preprocessing((224, 224)))
    data = data.for_channels(3 if backbone else model.network()[1].in_chans)
    if isinstance(task, Dino):
        task = task.completed(data.size, model.network()[1].patch_size)
    return replace(recipe, task=task, model=model, data=data)


def _network_of(start: str | None) -> tuple[str, Architecture]:
    """The name and the architecture of the network of a checkpoint."""
    if start is None:
        raise UserError("no weights to start from", "give --model.checkpoint, for example a run folder")
    source = resolve(start)
    model_config = source.expect(ModelConfig)
    if model_config is None:
        if source.path:
            read_tensors(source.file)  # the file may be damaged, or something else
        hint = f"give the name with --model, and the weights with {CHECKPOINT}"
        raise UserError(f"{start} has no model.json with the name of its network", hint)
    return model_config.model.name, model_config.model.architecture


def starts(recipe: Recipe | None) -> dict[str, str]:
    """The flag of each MODEL that a complete recipe starts from or learns from, with its value."""
    if recipe is None:
        return {}
    given = {CHECKPOINT: recipe.model.checkpoint, TEACHER: getattr(recipe.task, "teacher", None)}
    return {flag: model for flag, model in given.items() if model is not None}


def lost(recipe: Recipe | None) -> dict[str, str]:
    """Those of `starts` that were local files or folders and are no longer there."""
    return {flag: model for flag, model in starts(recipe).items() if Path(model).is_absolute() and not exists(model)}


def absolute(path: Any) -> Any:
    """The absolute form of a path; None stays None, and so does an address."""
    return path if path is None or is_address(str(path)) else str(Path(path).expanduser().absolute())


def local(flag: str, model: str | None, recorded: Recipe | None = None) -> str | None:
    """The absolute path of a MODEL that is a local file or folder, or was one when the run was `recorded`.

    Any other MODEL, and None, is returned unchanged. Raises `UserError` that names the `flag` for one that is nothing.
    """
    if model is None:
        return None
    if on_disk(model) or absolute(model) in starts(recorded).values():
        return str(absolute(model))
    if not model.startswith(HUB):  # of which the hub would be asked
        try:
            resolve(model)
        except UserError as error:
            raise UserError(f"{flag}: {error.what}", error.hint) from None
    return model
