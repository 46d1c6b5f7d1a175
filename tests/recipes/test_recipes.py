"""Recipes against the paper: section 3.1, Tables 1 and 3, and the authors' issue threads for other settings."""

import pytest

from resmlp.config import ImageRecipe, TextRecipe
from resmlp.recipes import RECIPES

VARIANTS = {
    "layernorm": 0.777,
    "classmlp": 0.775,
    "none": 0.565,
    "mlp": 0.773,
    "conv3x3": 0.773,
    "dwconv": 0.763,
    "sepconv": 0.770,
    "p14": 0.769,
    "p8": 0.791,
}
NAMES = [
    "digits",
    "cifar10",
    "folder",
    "distill-folder",
    "finetune",
    "imagenet-s12",
    "imagenet-s24",
    "imagenet-b24",
    "imagenet-oldschool",
    "cifar10-oldschool",
    "imagenet21k-b24",
    "imagenet-from21k",
    "scenes",
    "camvid",
    "ade20k",
]


@pytest.mark.parametrize("name", [*NAMES, *(f"s12-{variant}" for variant in VARIANTS)])
def test_fixed_names_exist(name):
    assert isinstance(RECIPES[name], ImageRecipe)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_has_its_name_and_a_description(name):
    assert RECIPES[name].name == name
    assert RECIPES[name].about
    assert "\n" not in RECIPES[name].about


# section 2 of paper.md, the supervised row
SUPERVISED = {
    "run.epochs": 400,
    "data.batch_size": 2048,
    "optim.name": "lamb",
    "optim.lr": 5e-3,
    "optim.weight_decay": 0.2,
    "optim.schedule": "cosine",
    "optim.warmup_epochs": 5,
    "optim.warmup_lr": 1e-6,
    "optim.min_lr": 1e-5,
    "augment.crop": "resized",
    "augment.flip": 0.5,
    "augment.policy": "rand",
    "augment.magnitudes": "rand-m9-n2-mstd0.5-inc1",
    "augment.mixup": 0.8,
    "augment.cutmix": 1.0,
    "augment.switch_prob": 0.5,
    "augment.mix_prob": 1.0,
    "augment.erasing": 0.25,
    "augment.repeats": 3,
    "task.label_smoothing": 0.1,
    "data.interpolation": "bicubic",
    "data.size": (224, 224),
    "data.crop_ratio": 0.9,
    "data.mean": (0.485, 0.456, 0.406),
    "data.std": (0.229, 0.224, 0.225),
}

OLDSCHOOL = {
    "run.epochs": 90,
    "optim.name": "sgd",
    "optim.momentum": 0.9,
    "optim.schedule": "step",
    "optim.milestones": (30, 60, 80),
    "model.name": "resmlp_s12",
    "model.drop_path": 0.0,
    "augment.crop": "resized",
    "augment.flip": 0.5,
    "augment.policy": "none",
    "augment.jitter": 0.0,
    "augment.mixup": 0.0,
    "augment.cutmix": 0.0,
    "augment.erasing": 0.0,
    "augment.repeats": 1,
    "task.label_smoothing": 0.0,
    "run.ema": None,
}


def value(recipe, path):
    part, field = path.split(".")
    return getattr(getattr(recipe, part), field)


@pytest.mark.parametrize("path", SUPERVISED)
@pytest.mark.parametrize("name", ["imagenet-s12", "imagenet-s24", "imagenet-b24"])
def test_supervised_training(name, path):
    assert value(RECIPES[name], path) == SUPERVISED[path]


@pytest.mark.parametrize("path", OLDSCHOOL)
def test_old_fashioned_training(path):
    assert value(RECIPES["imagenet-oldschool"], path) == OLDSCHOOL[path]


@pytest.mark.parametrize("name", ["imagenet-s12", "imagenet-s24", "imagenet-b24"])
def test_no_fp16_and_an_average_of_the_weights(name):
    assert RECIPES[name].run.precision in ("bf16", "fp32")
    assert RECIPES[name].run.ema


@pytest.mark.parametrize(
    ("name", "model", "drop_path", "top1"),
    [
        ("imagenet-s12", "resmlp_s12", 0.05, 0.766),
        ("imagenet-s24", "resmlp_s24", 0.1, 0.794),
        ("imagenet-b24", "resmlp_b24", 0.1, 0.810),
        ("imagenet-oldschool", "resmlp_s12", 0.0, 0.692),
    ],
)
def test_models_and_expected_results(name, model, drop_path, top1):
    recipe = RECIPES[name]
    assert (recipe.model.name, recipe.model.drop_path) == (model, drop_path)
    assert dict(recipe.expected)["top1"] == top1
    assert "Table" in recipe.paper


# Table 4, row ResMLP-S12; deit #117 (CIFAR), #105 (iNaturalist), #45 (Cars)
ADAMW = ("adamw", 5e-6, 0.05, 1000)
TRANSFER = {
    "cifar10": (0.981, *ADAMW),
    "cifar100": (0.870, *ADAMW),
    "flowers": (0.974, "sgd", 0.01, 1e-4, 1000),
    "cars": (0.846, "sgd", 0.01, 1e-4, 1000),
    "inat18": (0.602, "adamw", 7.5e-5, 0.05, 360),
    "inat19": (0.710, "adamw", 7.5e-5, 0.05, 360),
}


@pytest.mark.parametrize("name", TRANSFER)
def test_transfer(name):
    recipe, (top1, optimizer, lr, decay, epochs) = RECIPES[f"finetune-{name}"], TRANSFER[name]
    assert dict(recipe.expected) == {"top1": top1}
    assert recipe.paper.startswith("Table 4, ")
    assert (recipe.data.source, recipe.data.batch_size) == (name, 768)
    assert (recipe.optim.name, recipe.optim.lr, recipe.optim.weight_decay) == (optimizer, lr, decay)
    assert (recipe.run.epochs, recipe.optim.schedule, recipe.optim.warmup_epochs) == (epochs, "cosine", 5)
    assert (recipe.augment.mixup, recipe.augment.cutmix, recipe.augment.repeats) == (0.8, 1.0, 3)
    assert (recipe.task.label_smoothing, recipe.model.name) == (0.1, "checkpoint")


@pytest.mark.parametrize("name", ["finetune", *(f"finetune-{name}" for name in TRANSFER)])
def test_fine_tuning_has_the_preprocessing_of_the_checkpoint(name):
    data = RECIPES[name].data
    assert (data.img_size, data.mean, data.std, data.crop_ratio, data.interpolation) == (None,) * 5


def test_imagenet_21k_before_imagenet_1k():
    before, after = RECIPES["imagenet21k-b24"], RECIPES["imagenet-from21k"]
    assert (before.run.epochs, before.model.name, before.data.source) == (60, "resmlp_b24_p8", "folder")
    assert before.optim == RECIPES["imagenet-b24"].optim
    assert after.model.checkpoint == "runs/imagenet21k-b24"
    assert after.model.name == before.model.name
    assert dict(after.expected) == {"top1": 0.844}


def test_old_fashioned_and_modern_cifar_differ_only_in_training():
    old, new = RECIPES["cifar10-oldschool"], RECIPES["cifar10"]
    assert (old.model, old.data, old.augment, old.run.epochs) == (new.model, new.data, new.augment, new.run.epochs)
    assert (old.optim.name, old.optim.momentum, old.optim.schedule) == ("sgd", 0.9, "step")
    assert [milestone / 24 for milestone in old.optim.milestones] == pytest.approx(
        [30 / 90, 60 / 90, 80 / 90], abs=0.02
    )
    assert (old.task.label_smoothing, old.run.ema) == (0.0, None)


@pytest.mark.parametrize("variant", VARIANTS)
def test_an_ablation_changes_only_the_network(variant):
    recipe, base = RECIPES[f"s12-{variant}"], RECIPES["imagenet-s12"]
    assert recipe.model.name == f"resmlp_s12_{variant}"
    assert dict(recipe.expected) == {"top1": VARIANTS[variant]}
    assert recipe.paper.startswith("Table 3")
    for part in ("task", "data", "augment", "optim", "run"):
        assert getattr(recipe, part) == getattr(base, part)


@pytest.mark.parametrize("name", RECIPES)
def test_expected_numbers_are_fractions(name):
    assert all(0 < number <= 1 for key, number in RECIPES[name].expected if key.startswith("top"))


# Table 5, and section 2 of paper.md for its settings
TABLE_5 = {"wmt14-ende": (26.4, 0.15, 32_000, "de"), "wmt14-enfr": (40.3, 0.1, 40_000, "fr")}


@pytest.mark.parametrize("name", TABLE_5)
def test_translation(name):
    recipe, (bleu, dropout, vocabulary, target) = RECIPES[name], TABLE_5[name]
    assert dict(recipe.expected) == {"tokenized_bleu": bleu}
    assert recipe.paper.startswith("Table 5, ")
    optim = recipe.optim
    assert (optim.name, optim.lr, optim.warmup_steps, optim.schedule) == ("adagrad", 0.2, 32_000, "constant")
    assert (recipe.model.name, recipe.model.dropout, recipe.task.label_smoothing) == ("resmlp_mt6", dropout, 0.1)
    network = recipe.model.network()[1]
    assert (network.dim, network.hidden, network.layer_scale) == (512, 2048, 0.2)
    assert (recipe.task.beam, recipe.task.length_penalty) == (4, 0.6)
    assert recipe.run.average > 1
    assert (recipe.data.vocabulary, recipe.data.source_language, recipe.data.target_language) == (
        vocabulary,
        "en",
        target,
    )


@pytest.mark.parametrize("name", ["numbers", "multi30k"])
def test_translation_without_a_gpu(name):
    assert isinstance(RECIPES[name], TextRecipe)
    assert RECIPES[name].expected
