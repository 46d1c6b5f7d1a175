"""What the benchmarks of image sizes train: the recipes of a seed, for CIFAR-10 and Caltech-20."""

from dataclasses import replace
from pathlib import Path

from resmlp.config import Augment, Data, ImageRecipe, Model, Optim, Run
from resmlp.models.resize import Size
from resmlp.recipes.transfer import RESIZE

OWN = "8"
"""tokens of a side of the single size"""
SIDES = ("4", "6", "8", "10", "12", "16")
RECTANGLES = ("6x10", "8x12")
GRIDS = (*SIDES, *RECTANGLES)
LARGEST = "16"
"""whose parameters the training on many grids has: those of a smaller grid would limit the rank of A on it"""
RISING, LONGER = ("4", "6", "8"), 1.2
"""the grids of the training that rises, and how many more images it sees: its images are smaller"""
NETWORK = {"init": "local", "layer_scale": 1.0, "depth": 4}
TUNED = 0.2
"""the part of the epochs of a training in which `resmlp train resize` tunes A: about 240 steps"""
SETTINGS = {
    "cifar10": ImageRecipe(
        "resolution-cifar10",
        model=Model("resmlp_cifar", dim=64, **NETWORK),
        data=Data("cifar10", img_size=(32,), batch_size=128, workers=0, crop_ratio=1.0, fraction=0.3),
        augment=Augment("pad"),
        optim=Optim("muon", lr=8e-3, weight_decay=0.05, warmup_epochs=1, clip=1.0),
        run=Run(epochs=10, eval_every=100, log=(), save_minutes=5, device="cpu"),
    ),
    "caltech20": ImageRecipe(
        "resolution-caltech20",
        model=Model("resmlp_cifar", patch_size=16, dim=96, **NETWORK),
        data=Data("folder", img_size=(128,), batch_size=64, workers=0, crop_ratio=1.0),
        augment=Augment("resized", scale=(0.25, 1.0)),
        optim=Optim("muon", lr=5e-3, weight_decay=0.05, warmup_epochs=3, clip=1.0),
        run=Run(epochs=60, eval_every=100, log=(), save_minutes=5, device="cpu"),
    ),
}
"""CIFAR-10: 10 epochs of 15,000 images; Caltech-20: 60 epochs of its 1,371 images, which are decoded each time"""


def patch(recipe: ImageRecipe) -> int:
    """The side of a patch in pixels."""
    return recipe.model.network()[1].patch_size


def shape(grid: str, recipe: ImageRecipe) -> Size:
    """The height and width in pixels of a grid such as 8 or 6x10."""
    sides = [int(side) * patch(recipe) for side in grid.split("x")]
    return sides[0], sides[-1]


def variants(base: ImageRecipe, data: Path, seed: int) -> dict[str, ImageRecipe]:
    """What is trained with a seed, by name: on one grid each, and on several. The longest come first."""
    base = replace(base, run=replace(base.run, seed=seed), data=replace(base.data, root=str(data)))
    many = replace(base.data, grids=GRIDS, img_size=shape(LARGEST, base))
    rising = replace(base.data, grids=RISING, grid_order="rising")
    longer = replace(base.run, epochs=round(LONGER * base.run.epochs))
    found = {"many": replace(base, data=many), "rising": replace(base, data=rising, run=longer)}
    for grid in reversed(GRIDS):
        found[grid] = replace(base, data=replace(base.data, img_size=shape(grid, base)))
    return found


def tuning(own: ImageRecipe, checkpoint: Path) -> ImageRecipe:
    """The tuning of A alone, from the network of the single size, at the size of `own`, with its images."""
    run = replace(own.run, epochs=max(1, round(TUNED * own.run.epochs)))
    model = replace(RESIZE.model, checkpoint=str(checkpoint))
    return replace(RESIZE, model=model, data=own.data, augment=own.augment, run=run)
