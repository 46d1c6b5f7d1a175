"""Fit the batch size of a recipe to the training set, and the learning rate to the batch size."""

from dataclasses import replace

from resmlp.config import ImageRecipe


def fit_batch(recipe: ImageRecipe, images: int, world: int = 1) -> ImageRecipe:
    """The recipe with a batch of at most `images` training images, over `world` processes.

    A batch that fits is not changed. A larger one becomes the largest multiple of the number of parts (processes times
    `run.accumulate`, times 2 with mixup or CutMix, which mix pairs of images), and `scale_batch` adapts the learning
    rate. Repeated augmentation does not change the limit: the views of a step are never more than the images. With
    fewer images than a batch needs, the recipe is returned unchanged, and `TrainBatches` raises `UserError`.
    """
    mixes = bool(recipe.augment.mixup or recipe.augment.cutmix)
    unit = world * recipe.run.accumulate * (2 if mixes else 1)
    if recipe.data.batch_size <= images or images < max(unit, 2):
        return recipe
    return scale_batch(recipe, images // unit * unit)


def scale_batch(recipe: ImageRecipe, batch_size: int) -> ImageRecipe:
    """The recipe with another batch size, and a learning rate in proportion to it (Goyal et al. 2017, section 2.1).

    `warmup_lr` and `min_lr` are scaled as well if they would exceed the new learning rate. Raises `UserError` if the
    recipe does not allow the batch size.
    """
    optim, ratio = recipe.optim, batch_size / recipe.data.batch_size
    lr = optim.lr * ratio
    ends = {key: value * ratio for key in ("warmup_lr", "min_lr") if (value := getattr(optim, key)) > lr}
    return replace(recipe, data=replace(recipe.data, batch_size=batch_size), optim=replace(optim, lr=lr, **ends))
