"""Recipes by name: all settings of a run, as values. A variant is `replace(base, ...)`."""

from dataclasses import replace
from pathlib import Path

from resmlp.config import ImageRecipe, Recipe
from resmlp.recipes import ablations, dino, distill, imagenet, segment, small, transfer, translate
from resmlp.utils.errors import UserError, lookup
from resmlp.utils.files import read_json
from resmlp.utils.run_folder import RECIPE
from resmlp.utils.serialization import from_dict

PARTS = (small, imagenet, ablations, distill, dino, transfer, translate, segment)
RECIPES: dict[str, Recipe] = {recipe.name: recipe for part in PARTS for recipe in part.RECIPES}


def open_recipe(name: str) -> Recipe:
    """The recipe of a name of `resmlp list recipes`, or of the path of a `recipe.json`; raises `UserError`."""
    if name.endswith(".json"):
        return from_dict(Recipe, read_json(Path(name)))
    if name not in RECIPES and Path(name).is_file():
        raise UserError(f"{name} is a file, not a recipe", "give a run folder, a recipe.json or the name of a recipe")
    if name not in RECIPES and (Path(name).name != name or name.startswith("~")):
        raise UserError(f"no folder {name}", "give a run folder that exists, or a name of `resmlp list recipes`")
    return lookup("recipe", name, RECIPES, "see `resmlp list recipes`; a run folder of this name does not exist")


def recipe_of_run(folder: Path) -> Recipe:
    """The recipe of the run in `folder`. Raises `UserError` if it is not a run folder."""
    if not (folder / RECIPE).exists():
        raise UserError(
            f"{folder} is not a run folder: it has no {RECIPE}", "give a run folder, or the name of a recipe"
        )
    return from_dict(Recipe, read_json(folder / RECIPE))


def base_recipe(run: Path) -> Recipe:
    """The recipe of a run without its initial weights, which more of the run does not need. Raises `UserError`."""
    recipe = recipe_of_run(run)
    return replace(recipe, model=recipe.model.updated(checkpoint=None)) if isinstance(recipe, ImageRecipe) else recipe


__all__ = ["RECIPES", "base_recipe", "open_recipe", "recipe_of_run"]
