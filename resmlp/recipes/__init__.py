"""Recipes: name -> everything a run needs. Values only; a variant is `replace(base, ...)`."""

from resmlp.config import Recipe
from resmlp.recipes import ablations, imagenet, small

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe for part in (small, imagenet, ablations) for recipe in part.RECIPES
}

__all__ = ["RECIPES"]
