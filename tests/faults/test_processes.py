"""Image tasks take the same steps on any number of processes, with the augmentation of their recipes."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import steps

from resmlp.config import Augment, ImageRecipe, Run
from resmlp.config.tasks import Dino, Distill
from resmlp.models import create_model, save_model
from resmlp.recipes import RECIPES

DIGITS = RECIPES["digits"]
DATA = replace(DIGITS.data, batch_size=48, workers=0)
MODEL = replace(DIGITS.model, depth=2, drop_path=0.2)
RUN = Run(device="cpu", log=(), ema=None)
EVERYTHING = Augment(policy="rand", mixup=0.8, cutmix=1.0, erasing=0.25)


def supervised(folder: Path) -> ImageRecipe:
    return replace(DIGITS, model=MODEL, data=DATA, augment=EVERYTHING, run=RUN)


def accumulated(folder: Path) -> ImageRecipe:
    return replace(supervised(folder), run=replace(RUN, accumulate=2))


def repeated(folder: Path) -> ImageRecipe:
    return replace(supervised(folder), augment=replace(EVERYTHING, repeats=3))


def distilled(folder: Path) -> ImageRecipe:
    teacher = create_model("resmlp_digits", img_size=8, num_classes=10)
    save_model(folder / "teacher", teacher, tuple("0123456789"), DATA.preprocessing())
    task = Distill(teacher=str(folder / "teacher"), targets="soft", alpha=0.5)
    return replace(supervised(folder), task=task)


def dino(folder: Path) -> ImageRecipe:
    base = RECIPES["dino-folder"]
    task = replace(base.task, out_dim=64, hidden=32, bottleneck=16, local_size=(4,), local_views=2, local_crops="pad")
    assert isinstance(task, Dino)
    return replace(base, task=task, model=MODEL, data=DATA, run=RUN)


RECIPES_OF: list[Callable[[Path], ImageRecipe]] = [supervised, accumulated, repeated, distilled, dino]


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES_OF, ids=lambda make: make.__name__)
def test_several_processes_take_the_steps_of_one(tmp_path, recipe):
    settings = recipe(tmp_path)
    alone = steps.trained(settings, [1], 6, tmp_path / "one")
    worlds = {supervised: [4, 3, 8], dino: [2, 3]}.get(recipe, [2])
    steps.check_same(steps.trained(settings, worlds, 6 // len(worlds), tmp_path / f"on {worlds}"), alone)


@pytest.mark.soak
@pytest.mark.parametrize("recipe", RECIPES_OF, ids=lambda make: make.__name__)
def test_fifty_steps(tmp_path, recipe):
    settings = recipe(tmp_path)
    alone = steps.trained(settings, [1], 50, tmp_path / "one")
    assert len(alone["losses"]) == 50
    for world in (2, 4):
        steps.check_same(steps.trained(settings, [world], 50, tmp_path / str(world)), alone)
