"""`resmlp train` and `resmlp demo`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import arg

from resmlp.cli.base import Verb, print_text
from resmlp.config import ImageRecipe, Recipe
from resmlp.recipes import open_recipe
from resmlp.utils.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Train(Verb):
    """train a network by a recipe; the same command again continues where it stopped"""

    recipe: Annotated[Recipe, arg(name="")]
    out: Path | None = None
    """the run folder; default runs/RECIPE, or runs/RECIPE/fold-0 and so on with --data.folds"""

    @classmethod
    def prepare(cls, args: list[str]) -> tuple["Train", list[str]]:
        """The recipe is the first word; its values are the defaults of all flags."""
        if args and args[0] in ("-h", "--help"):
            print("usage: resmlp train RECIPE [--model NAME] [--data.root PATH] [--out DIR] [--any.field VALUE]\n")
            print("`resmlp list recipes` shows the recipes, `resmlp train RECIPE --help` every field with its default")
            raise SystemExit(0)
        if not args or args[0].startswith("-"):
            raise UserError("train needs a recipe before its flags", "resmlp train digits; see `resmlp list recipes`")
        return cls(recipe=open_recipe(args[0])), args[1:]

    def run(self) -> dict[str, Any]:
        """Train one run, or one for each fold; of several processes the first returns the summary."""
        if isinstance(self.recipe, ImageRecipe) and self.recipe.data.folds and self.recipe.data.fold is None:
            from resmlp.training.folds import cross_validate

            result = cross_validate(self.recipe, self.out)
            return result.to_dict() if result else {}
        from resmlp.training.train import train

        summary = train(self.recipe, self.out)
        return summary.to_dict() if summary else {}


@dataclass(frozen=True, kw_only=True)
class Demo(Verb):
    """train on embedded digits, evaluate, draw: the main job in a minute on two cores"""

    out: Path = Path("runs/demo")
    """the run folder"""

    def run(self) -> dict[str, Any]:
        """Train `digits`, then evaluate it and draw its predictions."""
        from resmlp.evaluation.evaluate import evaluate
        from resmlp.training.train import train

        summary, evaluation = train("digits", self.out), evaluate(self.out)
        if not self.json:
            print_text(evaluation)
        return summary.to_dict() if summary else {}
