"""Fifty steps of two recipes on 1, 2 and 4 processes, and with a change in between: `pytest -m soak tests/faults`."""

from dataclasses import replace

import pytest
import steps

from resmlp.recipes import RECIPES

pytestmark = [pytest.mark.slow, pytest.mark.soak, pytest.mark.timeout(3600)]

STEPS = 50
WORLDS = [[2], [4], [2, 1, 2, 1, 2]]


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_numbers(dropout, tmp_path):
    """In float32, as the recipe: with its own dropout, which is off, and with dropout."""
    recipe = RECIPES["numbers"]
    recipe = replace(recipe, model=replace(recipe.model, dropout=dropout))
    alone = steps.trained(recipe, [1], STEPS, tmp_path / "1")
    for worlds in WORLDS:
        found = steps.trained(recipe, worlds, STEPS // len(worlds), tmp_path / str(worlds))
        steps.check_same(found, alone, tolerance=1e-5)


def test_scenes(tmp_path):
    """In float64: in float32, AdamW enlarges rounding to 1e-3, also on one process with its images in another order."""
    recipe = RECIPES["scenes"]
    recipe = replace(recipe, run=replace(recipe.run, precision="fp32"))
    alone = steps.trained(recipe, [1], STEPS, tmp_path / "1", double=True)
    for worlds in WORLDS:
        found = steps.trained(recipe, worlds, STEPS // len(worlds), tmp_path / str(worlds), double=True)
        steps.check_same(found, alone, tolerance=1e-8)
