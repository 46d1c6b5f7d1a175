"""Recipes by name: all settings of a run, as values. A variant is `replace(base, ...)`."""

from pathlib import Path

from resmlp.config import Recipe
from resmlp.recipes import ablations, dino, distill, imagenet, segment, small, transfer, translate
from resmlp.utils.errors import lookup
from resmlp.utils.files import read_json
from resmlp.utils.serialization import from_dict

PARTS = (small, imagenet, ablations, distill, dino, transfer, translate, segment)
RECIPES: dict[str, Recipe] = {recipe.name: recipe for part in PARTS for recipe in part.RECIPES}


def open_recipe(name: str) -> Recipe:
    """The recipe of a name of `resmlp list recipes`, or of the path of a `recipe.json`; raises `UserError`."""
    if name.endswith(".json"):
        return from_dict(Recipe, read_json(Path(name)))
    return lookup("recipe", name, RECIPES, "see `resmlp list recipes`")


__all__ = ["RECIPES", "open_recipe"]
