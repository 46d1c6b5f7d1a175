"""Each scale has a plan, or a reason for none, for each row."""

import subprocess
import sys

import pytest

from resmlp.paper import TABLES
from resmlp.recipes import RECIPES
from resmlp.recipes.small import CIFAR10
from resmlp.reproduction import full, small, smoke
from resmlp.reproduction.measure import count
from resmlp.reproduction.plan import Training, sets
from resmlp.utils.serialization import difference, to_dict


@pytest.mark.parametrize("scale", [smoke, small, full])
def test_every_row_has_a_plan_or_a_reason(scale):
    for name, table in TABLES.items():
        assert list(scale.PLANS[name]) and set(scale.PLANS[name]) == {row.name for row in table.rows}  # noqa: PT018
        assert all(plan for plan in scale.PLANS[name].values())


def test_smoke_needs_no_data_and_small_needs_four_data_sets():
    assert not {name for plans in smoke.PLANS.values() for plan in plans.values() for name in sets(plan)}
    needed = {name for plans in small.PLANS.values() for plan in plans.values() for name in sets(plan)}
    assert needed == {"cifar10", "caltech20", "multi30k", "camvid"}


def test_the_thirteen_rows_differ_in_one_part():
    plans = {name: plan for name, plan in small.PLANS["table3"].items() if isinstance(plan, Training)}
    assert len(plans) == 13
    base = to_dict(plans["s12"].recipe)
    parts = {"s12": set(), "ssl": set(), "distill": {"task"}, "p14": {"data.img_size"}, "p8": {"model.patch_size"}}
    parts |= {"oldschool": {"optim", "run.ema"}, "layernorm": {"model.norm"}, "classmlp": {"model.pool"}}
    for name, plan in plans.items():
        changes = difference({**base, "about": ""}, {**to_dict(plan.recipe), "about": ""})
        changed = {change.split(":")[0] for change in changes}
        expected = parts.get(name, {"model.mixer"})
        assert all(any(field.startswith(part) for part in expected) for field in changed), (name, changed)
        assert bool(changed) == bool(expected), name
    assert plans["ssl"].start is not None
    assert plans["distill"].teacher is not None
    assert plans["s12"].recipe.optim == CIFAR10.optim


def test_runs_that_share_a_place_are_the_same_run():
    for scale in (smoke, small, full):
        places: dict[str, Training] = {}
        for table, plans in scale.PLANS.items():
            for row, plan in plans.items():
                for training in plan.chain() if isinstance(plan, Training) else ():
                    place = training.at or (f"{table}/{row}" if training is plan else "")
                    if place:
                        known = places.setdefault(place, training)
                        assert known.recipe == training.recipe, place


def test_the_paper_scale_runs_the_recipes_themselves():
    names = {plan.recipe.name for plan in full.PLANS["table3"].values() if isinstance(plan, Training)}
    assert {"imagenet-s12", "s12-none", "s12-p8", "imagenet-oldschool", "distill", "imagenet-from21k"} <= names
    assert full.PLANS["table3"]["none"].recipe == RECIPES["s12-none"]  # with the number that it expects


@pytest.mark.parametrize("name", ["table1", "table2", "table3"])
def test_counts_agree_with_the_paper(name):
    """To about the last printed digit; to 5 % for EfficientNets."""
    table = TABLES[name]
    for row in table.rows:
        if row.model:
            reported, counted = table.reported(row), count(row.model)
            coarse = 0.05 if row.name.startswith("efficientnet") else 0.01
            assert counted["macs"] == pytest.approx(reported["macs"], rel=coarse, abs=0.06e9), row.name
            assert counted["parameters"] == pytest.approx(reported["parameters"], abs=0.7e6), row.name


def test_the_paper_scale_expects_the_numbers_of_the_paper():
    plans = full.PLANS
    assert plans["table4"]["s24-cars"].recipe.expected == (("top1", 0.895),)
    assert plans["table2"]["s24"].recipe.expected == (("knn", 0.694),)
    assert plans["table5"]["resmlp12-ende"].recipe.expected == (("tokenized_bleu", 26.8),)
    assert plans["table6"]["b24"].recipe.expected == (("miou", 0.425),)


def test_plans_and_values_load_no_torch():
    code = "import sys, resmlp.paper, resmlp.reproduction.full, resmlp.reproduction.small, resmlp.reproduction.smoke\n"
    code += "sys.exit(any(name in sys.modules for name in ('torch', 'timm', 'numpy')))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
