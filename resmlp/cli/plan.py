"""`resmlp plan`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import arg

from resmlp.cli.base import Verb, print_text
from resmlp.config import Recipe
from resmlp.recipes import RECIPES, open_recipe, recipe_of_run
from resmlp.utils.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Plan(Verb):
    """time, memory, storage and network that a run needs, each figure with its source; nothing is run"""

    recipe: Annotated[Recipe, arg(name="")]
    gpus: int = 1
    """GPUs of all machines together"""
    gpu: str = "a100"
    """v100, a100, h100, h200, l4, l40s, rtx3090 or rtx4090"""
    mfu: float | None = None
    """share of the GPU's peak that training reaches, such as 0.3; by default from a published speed of the network"""
    images: int | None = None
    """training images; by default counted in --data.root, or those of the recipe's data set"""
    image_kb: float | None = None
    """mean size of an image file in kilobytes (1000); by default as --images"""
    storage: float | None = None
    """megabytes per second that the storage gives to all machines together"""
    network: float | None = None
    """gigabits per second of the slowest link between GPUs or machines"""

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
        from resmlp.analysis.planning.plan import Place, plan_run

        place = Place(self.gpus, self.gpu, self.mfu, self.images, self.image_kb, self.storage, self.network)
        plan = plan_run(self.recipe, place)
        if not self.json:
            print_text(plan)
        return plan.to_dict()
