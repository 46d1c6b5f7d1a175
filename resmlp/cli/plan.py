"""`resmlp plan`."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import arg

from resmlp.cli.base import Verb, print_text
from resmlp.config import Recipe
from resmlp.config.place import Place
from resmlp.recipes import RECIPES, open_recipe, recipe_of_run
from resmlp.utils.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Plan(Verb):
    """time, memory, storage and network that a run needs, each figure with its source; nothing is run"""

    recipe: Annotated[Recipe, arg(name="")]
    place: Annotated[Place, arg(name="")] = field(default_factory=Place)

    @classmethod
    def prepare(cls, args: list[str]) -> tuple["Plan", list[str]]:
        """The recipe is the first word; its values are the defaults of the flags."""
        if args and args[0] in ("-h", "--help"):
            print("usage: resmlp plan RECIPE --gpus N [--gpu NAME] [--mfu SHARE] [--images N] [--image-kb KB]")
            print("                   [--storage MB/S] [--network GBIT/S] [--any.field VALUE]\n")
            print("`resmlp plan RECIPE --help` shows all flags; those of the recipe are as of `resmlp train`")
            raise SystemExit(0)
        if not args or args[0].startswith("-"):
            raise UserError("plan needs a recipe before its flags", "resmlp plan imagenet-s12 --gpus 8")
        is_run = args[0] not in RECIPES and Path(args[0]).is_dir()
        return cls(recipe=recipe_of_run(Path(args[0])) if is_run else open_recipe(args[0])), args[1:]

    def run(self) -> dict[str, Any]:
        """Compute the plan and print it."""
        from resmlp.analysis.planning.plan import plan_run

        plan = plan_run(self.recipe, self.place)
        if not self.json:
            print_text(plan)
        return plan.to_dict()
