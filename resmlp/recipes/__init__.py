"""Recipes: name -> everything a run needs. Values only; a variant is `replace(base, ...)`."""

from pathlib import Path

from resmlp.config import Recipe
from resmlp.recipes import ablations, dino, distill, imagenet, segment, small, transfer, translate
from resmlp.utils.errors import lookup
from resmlp.utils.files import read_json
from resmlp.utils.serialization import from_dict

PARTS = (small, imagenet, ablations, distill, dino, transfer, translate, segment)
RECIPES: dict[str, Recipe] = {recipe.name: recipe for part in PARTS for recipe in part.RECIPES}


def open_recipe(name: str) -> Recipe:
    """A recipe by its name, or from a `recipe.json` that a run wrote; raises `UserError`."""
    if name.endswith(".json"):
        return from_dict(Recipe, read_json(Path(name)))
    return lookup("recipe", name, RECIPES, "see `resmlp list recipes`")


__all__ = ["RECIPES", "open_recipe"]
