"""The plans of the paper's scale: the recipes of the paper on its data."""

from dataclasses import replace

from resmlp.config import Model
from resmlp.paper import TABLES
from resmlp.paper.tables import DATASETS
from resmlp.recipes import RECIPES
from resmlp.reproduction.ablations import DINO_PAPER, OTHERS, PARTS
from resmlp.reproduction.plan import Plan, Plans, Training, Weights, changed

IMAGENET = "imagenet"
PUBLISHED = {
    "s12": "resmlp_s12.fb_in1k",
    "s24": "resmlp_s24.fb_in1k",
    "b24-p8": "resmlp_b24_p8.fb_in1k",
    "distill": "resmlp_s12.fb_distilled_in1k",
    "s24-distill": "resmlp_s24.fb_distilled_in1k",
    "b24-p8-distill": "resmlp_b24_p8.fb_distilled_in1k",
    "b24-p8-21k": "resmlp_b24_p8.fb_in22k_ft_in1k",
}
"""row of Table 3 -> its published weights"""

S12, S24, B24 = (Training(RECIPES[f"imagenet-{name}"], IMAGENET) for name in ("s12", "s24", "b24"))
DINO = Training(RECIPES["dino"], IMAGENET)
DEEPER = replace(DINO.recipe.model, name="resmlp_s24")
DINO_S24 = Training(replace(DINO.recipe, model=DEEPER, expected=(("knn", 0.694),)), IMAGENET)
DEEP, WIDE = (Model(name, drop_path=0.1) for name in ("resmlp_s24", "resmlp_b24_p8"))
B24_P8 = replace(B24.recipe, paper="Table 3, ResMLP-B24/8", model=WIDE)
DISTILL = RECIPES["distill"]
FIRST_21K = Training(RECIPES["imagenet21k-b24"], "imagenet21k", at="table3/imagenet21k")


def complete(table: str, reason: str, plans: dict[str, Plan]) -> dict[str, Plan]:
    """A plan for each row of `table`: `plans`, and `reason` for the other rows."""
    return dict.fromkeys((row.name for row in TABLES[table].rows), reason) | plans


def with_expected(name: str, plans: dict[str, Plan]) -> dict[str, Plan]:
    """The same plans, with the paper's number of each row as the expected result of its run."""
    table, result = TABLES[name], dict(plans)
    for row, plan in plans.items():
        if isinstance(plan, Training):
            expected = ((table.main, table.reported(table.row(row))[table.main]),)
            result[row] = replace(plan, recipe=replace(plan.recipe, expected=expected))
    return result


def table3() -> dict[str, Plan]:
    """The recipes of the ablation, and rows that combine other recipes."""
    return {
        "s12": S12,
        "s24": replace(S24, at="table1/s24"),
        "b24": replace(B24, at="table1/b24"),
        **{row: Training(RECIPES[f"s12-{row}"], IMAGENET) for row in (*PARTS, "p14", "p8")},
        "b24-p8": Training(B24_P8, IMAGENET),
        "oldschool": Training(RECIPES["imagenet-oldschool"], IMAGENET),
        "ssl": replace(S12, start=replace(DINO, at="table2/s12")),
        "distill": Training(DISTILL, IMAGENET),
        "s24-ssl": replace(S24, start=replace(DINO_S24, at="table2/s24")),
        "s24-distill": Training(replace(DISTILL, model=DEEP), IMAGENET),
        "b24-p8-distill": Training(replace(DISTILL, model=WIDE), IMAGENET),
        "b24-p8-21k": Training(RECIPES["imagenet-from21k"], IMAGENET, start=FIRST_21K),
    }


def table4() -> dict[str, Plan]:
    """Fine-tuning of the published weights on each data set."""
    plans: dict[str, Plan] = {}
    for name in ("s12", "s24"):
        for key in DATASETS:
            recipe = RECIPES[f"finetune-{key}"]
            start = Model(PUBLISHED[name], drop_path=recipe.model.drop_path)
            plans[f"{name}-{key}"] = Training(replace(recipe, model=start), key)
    return complete("table4", "a network of another paper", plans)


def table5() -> dict[str, Plan]:
    """Both language pairs, with both depths and the Transformer."""
    names = {"resmlp6": "resmlp_mt6", "resmlp12": "resmlp_mt12", "transformer": "transformer_mt6"}
    plans: dict[str, Plan] = {}
    for pair in ("ende", "enfr"):
        recipe = RECIPES[f"wmt14-{pair}"]
        for row, name in names.items():
            plans[f"{row}-{pair}"] = Training(replace(recipe, model=replace(recipe.model, name=name)), f"wmt14-{pair}")
    return complete("table5", "a network of another paper", plans)


def table6() -> dict[str, Plan]:
    """Segmentation from the published weights; B24 has none."""
    small = RECIPES["ade20k"]
    wide = Training(replace(small, model=Model("checkpoint", drop_path=0.1)), "ade20k")
    deit = {row: f"deit_{size}_patch16_224.fb_in1k" for row, size in (("deit-s", "small"), ("deit-b", "base"))}
    plans: dict[str, Plan] = {
        row: Training(replace(small, task=changed(small.task, backbone=name)), "ade20k") for row, name in deit.items()
    }
    plans |= {
        "s12": Training(small, "ade20k"),
        "s24": Training(RECIPES["ade20k-s24"], "ade20k"),
        "s36": Training(RECIPES["ade20k-s36"], "ade20k"),
        "b24": replace(wide, start=replace(B24, at="table1/b24")),  # its weights were not published
    }
    return plans


PLANS: Plans = {
    "table1": complete("table1", OTHERS, {"s12": replace(S12, at="table3/s12"), "s24": S24, "b24": B24}),
    "table2": complete("table2", DINO_PAPER, {"s12": DINO, "s24": DINO_S24}),
    "table3": with_expected("table3", table3()),
    "table4": with_expected("table4", table4()),
    "table5": with_expected("table5", table5()),
    "table6": with_expected("table6", table6()),
    "figure2": {name: Weights(PUBLISHED[name]) for name in ("s24", "s12")},
    "figure3": {"s24": Weights(PUBLISHED["s24"])},
    "figure4": complete(
        "figure4",
        "its weights were not published",
        {row: Weights(name, (IMAGENET, "imagenet-v2")) for row, name in PUBLISHED.items()},
    ),
}
