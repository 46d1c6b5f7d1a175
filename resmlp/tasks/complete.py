"""Complete a recipe before training: take the network and the preprocessing from its checkpoint."""

from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from resmlp.config import ImageRecipe, Recipe, TextRecipe
from resmlp.config.data import INHERITED
from resmlp.config.model_json import ModelConfig
from resmlp.config.preprocessing import Preprocessing
from resmlp.config.tasks import Dino, Distill, Segment
from resmlp.hub.resolve import resolve
from resmlp.models import preprocessing_of
from resmlp.utils.errors import UserError
from resmlp.utils.files import exists

R = TypeVar("R", bound=Recipe)


def complete(recipe: R) -> R:
    """The recipe with absolute paths, the network of its checkpoint, and the sizes and normalization of its images.

    A complete recipe is returned unchanged. Raises `UserError` if the checkpoint is missing, does not name its network,
    or does not fit.
    """
    if isinstance(recipe, ImageRecipe):
        return _complete_images(recipe)
    assert isinstance(recipe, TextRecipe)
    data = replace(recipe.data, root=absolute(recipe.data.root), tokenizer=absolute(recipe.data.tokenizer))
    return replace(recipe, data=data, model=replace(recipe.model, checkpoint=local(recipe.model.checkpoint)))


def _complete_images(recipe: ImageRecipe) -> Any:
    start = local(recipe.model.start)
    task, data = recipe.task, replace(recipe.data, root=absolute(recipe.data.root))
    if isinstance(task, Distill):
        task = replace(task, teacher=local(task.teacher), cache=absolute(task.cache))
    model, backbone = replace(recipe.model, checkpoint=start), None
    if isinstance(task, Segment) and task.backbone:
        backbone = task.backbone
    elif recipe.model.known:
        model = replace(model, name=recipe.model.known)
    else:
        model = model.completed(*_network_of(start), start)
    if any(getattr(data, key) is None for key in INHERITED):
        data = data.completed(preprocessing_of(model, backbone) or Preprocessing((224, 224)))
    if isinstance(task, Dino):
        task = task.completed(data.size, model.network()[1].patch_size)
    return replace(recipe, task=task, model=model, data=data)


def _network_of(start: str | None) -> tuple[str, Any]:
    """The name and the architecture of the network of a checkpoint."""
    if start is None:
        raise UserError("no weights to start from", "give --model.checkpoint, for example a run folder")
    source = resolve(start)
    model_config = source.expect(ModelConfig)
    if model_config is None:
        raise UserError(f"{start} has no model.json with the name of its network", "give the name with --model")
    return model_config.model.name, model_config.model.architecture


def absolute(path: Any) -> Any:
    """The absolute form of a path; None stays None."""
    return None if path is None else str(Path(path).expanduser().absolute())


def local(model: Any) -> Any:
    """The absolute path of a MODEL that is a local file or folder; any other MODEL, and None, unchanged."""
    return absolute(model) if model is not None and exists(model) else model
