"""`resmlp train` and `resmlp demo`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import Suppress, arg

from resmlp.cli.base import Verb, print_text
from resmlp.config import ImageRecipe, Recipe
from resmlp.recipes import RECIPES, base_recipe, open_recipe
from resmlp.utils.checks import demand
from resmlp.utils.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Train(Verb):
    """train a network by a recipe, or more of a run; the same command again continues where it stopped"""

    recipe: Annotated[Recipe, arg(name="")]
    start: Suppress[Path | None] = None
    """the run of which this is more"""
    out: Path | None = None
    """the run folder; default runs/RECIPE, in it fold-0 and so on for a cross-validation, and RUN-EPOCHS for more of a
    run"""
    schedule: Literal["stretch", "restart"] | None = None
    """only for more of a run. stretch, the default: the schedule that the run would have had with the new number of
    epochs, continued at its last step; restart: a new schedule, from its weights"""

    @classmethod
    def prepare(cls, args: list[str]) -> tuple["Train", list[str]]:
        """The recipe is the first word; its values are the defaults of all flags."""
        if args and args[0] in ("-h", "--help"):
            print("usage: resmlp train RECIPE [--model NAME] [--data.root PATH] [--out DIR] [--any.field VALUE]")
            print(
                "       resmlp train RUN --run.epochs N [--schedule stretch|restart] [--out DIR] [--any.field VALUE]\n"
            )
            print("`resmlp list recipes` shows the recipes, `resmlp train RECIPE --help` every field with its default")
            raise SystemExit(0)
        if not args or args[0].startswith("-"):
            raise UserError("train needs a recipe before its flags", "resmlp train digits; see `resmlp list recipes`")
        if args[0] not in RECIPES and Path(args[0]).is_dir():
            return cls(recipe=base_recipe(Path(args[0])), start=Path(args[0])), args[1:]
        return cls(recipe=open_recipe(args[0])), args[1:]

    def run(self) -> dict[str, Any]:
        """Train one run, more of one, or one for each fold; of several processes the first returns the summary."""
        if self.start:
            from resmlp.training.more import train_more

            summary = train_more(self.start, self.recipe, self.out, self.schedule)
            return summary.to_dict() if summary else {}
        demand(self.schedule is None, f"--schedule {self.schedule} is for more of a run", "resmlp train RUN")
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
