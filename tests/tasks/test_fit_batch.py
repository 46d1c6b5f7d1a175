"""`fit_batch`: the largest batch of a small training set, and the learning rate in proportion to it."""

from dataclasses import replace

import pytest

from resmlp.config import Augment, Data, ImageRecipe, Optim, Run
from resmlp.recipes import RECIPES
from resmlp.tasks.fit_batch import fit_batch, scale_batch
from resmlp.utils.errors import UserError


def recipe(batch: int, accumulate: int = 1, optim: Optim = Optim(), **augment) -> ImageRecipe:  # noqa: B008
    return ImageRecipe(
        "x", data=Data(batch_size=batch), augment=Augment(**augment), optim=optim, run=Run(accumulate=accumulate)
    )


@pytest.mark.parametrize("images", [64, 65, 10_000])
def test_a_batch_that_fits_is_not_changed(images):
    given = recipe(64)
    assert fit_batch(given, images) is given


@pytest.mark.parametrize(
    ("accumulate", "world", "augment", "images", "batch"),
    [
        (1, 1, {}, 403, 403),
        (1, 1, {"mixup": 0.2}, 403, 402),
        (1, 1, {"cutmix": 1.0}, 403, 402),
        (4, 1, {}, 403, 400),
        (1, 3, {}, 403, 402),
        (4, 1, {"mixup": 0.2}, 403, 400),
        (4, 3, {"cutmix": 1.0}, 403, 384),
        (1, 1, {"repeats": 3}, 403, 403),
        (1, 1, {}, 2, 2),
    ],
)
def test_the_largest_batch_that_fits(accumulate, world, augment, images, batch):
    fitted = fit_batch(recipe(2400, accumulate, **augment), images, world)
    assert fitted.data.batch_size == batch
    unit = accumulate * world * (2 if {"mixup", "cutmix"} & set(augment) else 1)
    assert batch % unit == 0
    assert batch + unit > images


@pytest.mark.parametrize(("accumulate", "world", "images"), [(1, 1, 1), (4, 1, 3), (2, 4, 7)])
def test_too_few_images_for_any_batch_are_left_to_the_loader(accumulate, world, images):
    given = recipe(64, accumulate)
    assert fit_batch(given, images, world) is given


def test_the_learning_rate_is_linear_in_the_batch():
    optim = Optim(lr=5e-3, warmup_lr=1e-6, min_lr=1e-5)
    fitted = fit_batch(recipe(2048, optim=optim), 512)
    assert fitted.optim == replace(optim, lr=1.25e-3), "the ends are still below the peak"
    assert fitted == replace(recipe(512), optim=fitted.optim), "nothing else is changed"


def test_the_ends_of_the_schedule_follow_where_they_would_exceed_the_peak():
    optim = Optim(lr=1e-3, warmup_lr=5e-4, min_lr=1e-4)
    fitted = scale_batch(recipe(64, optim=optim), 16)
    assert (fitted.optim.lr, fitted.optim.warmup_lr, fitted.optim.min_lr) == (2.5e-4, 1.25e-4, 1e-4)


def test_a_batch_that_the_recipe_does_not_allow_is_an_error():
    with pytest.raises(UserError, match="mixup mixes pairs of images: the batch of 9 images"):
        scale_batch(recipe(64, mixup=0.2), 9)


def test_a_fitted_recipe_fits():
    fitted = fit_batch(RECIPES["distill"], 404)
    assert (fitted.data.batch_size, fitted.optim.lr) == (404, 5e-3 * 404 / 2048)
    assert fit_batch(fitted, 404) is fitted
