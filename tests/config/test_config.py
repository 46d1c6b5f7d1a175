"""Every bound of a field is checked at construction, with an error that names the flag."""

import json
import re
import subprocess
import sys
from dataclasses import FrozenInstanceError, replace

import pytest

from resmlp.config import Augment, Data, ImageRecipe, Model, Optim, Preprocessing, Run
from resmlp.config.model_json import ModelConfig, TrunkConfig
from resmlp.config.tasks import Dino, Distill, Segment, Supervised
from resmlp.config.vision import ARCHITECTURES, architecture, canonical
from resmlp.tasks import complete
from resmlp.utils.errors import UserError
from resmlp.utils.serialization import from_dict, to_dict

NAN = float("nan")

BOUNDS = [
    (Model, {"name": "resmlp_s13", "checkpoint": "w.pth"}, "resmlp_s12"),
    (Model, {"drop_path": 1.0}, "--model.drop-path"),
    (Model, {"drop_path": -0.1}, "--model.drop-path"),
    (Model, {"drop_path": NAN}, "--model.drop-path"),
    (Data, {"img_size": ()}, "--data.img-size"),
    (Data, {"img_size": (1, 2, 3)}, "--data.img-size"),
    (Data, {"img_size": (0,)}, "--data.img-size"),
    (Data, {"img_size": (32, -32)}, "--data.img-size"),
    (Data, {"batch_size": 0}, "--data.batch-size"),
    (Data, {"workers": -1}, "--data.workers"),
    (Data, {"split_seed": -1}, "--data.split-seed"),
    (Data, {"val_fraction": 0.0}, "--data.val-fraction"),
    (Data, {"val_fraction": 1.0}, "--data.val-fraction"),
    (Data, {"crop_ratio": 0.0}, "--data.crop-ratio"),
    (Data, {"crop_ratio": 1.1}, "--data.crop-ratio"),
    (Augment, {"flip": 1.5}, "--augment.flip"),
    (Augment, {"mix_prob": -0.1}, "--augment.mix-prob"),
    (Augment, {"switch_prob": 2}, "--augment.switch-prob"),
    (Augment, {"erasing": NAN}, "--augment.erasing"),
    (Augment, {"repeats": 0}, "--augment.repeats"),
    (Optim, {"lr": 0.0}, "--optim.lr"),
    (Optim, {"lr": -1.0}, "--optim.lr"),
    (Optim, {"lr": NAN}, "--optim.lr"),
    (Optim, {"warmup_epochs": -1}, "--optim.warmup-epochs"),
    (Run, {"epochs": 0}, "--run.epochs"),
    (Run, {"accumulate": 0}, "--run.accumulate"),
    (Run, {"seed": -1}, "--run.seed"),
    (Run, {"eval_every": 0}, "--run.eval-every"),
    (Run, {"log_every": 0}, "--run.log-every"),
    (Run, {"ema": 0.0}, "--run.ema"),
    (Run, {"ema": 1.0}, "--run.ema"),
]


@pytest.mark.parametrize(("cls", "values", "message"), BOUNDS, ids=[f"{c.__name__}-{v}" for c, v, _ in BOUNDS])
def test_bounds(cls, values, message):
    with pytest.raises(UserError, match=re.escape(message)) as error:
        cls(**values)
    assert error.value.hint


# values that no run can mean; each would fail much later, or train on nonsense without a word
NO_BOUND = [
    (Model, {"patch_size": 0}, "patch-size"),
    (Model, {"patch_size": -2}, "patch-size"),
    (Model, {"dim": 0}, "dim"),
    (Model, {"depth": -1}, "depth"),
    (Model, {"mlp_ratio": 0.0}, "mlp-ratio"),
    (Data, {"std": (0.0, 0.2, 0.2)}, "std"),
    (Augment, {"scale": (1.0, 0.08)}, "scale"),
    (Augment, {"mixup": -0.5}, "mixup"),
    (Augment, {"cutmix": -0.5}, "cutmix"),
    (Augment, {"jitter": -0.1}, "jitter"),
    (Optim, {"weight_decay": -0.1}, "weight-decay"),
    (Optim, {"momentum": 1.5}, "momentum"),
    (Optim, {"beta2": 1.0}, "beta2"),
    (Optim, {"min_lr": -1.0}, "min-lr"),
    (Optim, {"clip": -1.0}, "clip"),
    (Supervised, {"label_smoothing": 1.5}, "label-smoothing"),
]


@pytest.mark.parametrize(("cls", "values", "message"), NO_BOUND, ids=[f"{c.__name__}-{v}" for c, v, _ in NO_BOUND])
def test_values_without_meaning_are_errors(cls, values, message):
    with pytest.raises(UserError, match=message):
        ImageRecipe("x", **{"task" if cls is Supervised else cls.__name__.lower(): cls(**values)})


def test_values_at_the_bounds_are_valid():
    Model(drop_path=0.0)
    Data(img_size=(16, 32), batch_size=1, workers=0, crop_ratio=1.0)
    Augment(flip=0.0, mix_prob=1.0, switch_prob=0.0, erasing=1.0, repeats=1)
    Optim(lr=1e-12, warmup_epochs=0)
    Run(epochs=1, accumulate=1, ema=None)


def test_values_are_frozen():
    with pytest.raises(FrozenInstanceError):
        Run().epochs = 3


# what holds between fields


@pytest.mark.parametrize(
    ("size", "patch"), [((225,), None), ((224, 230), None), ((8,), None), ((224,), 15), ((30, 500), 14)]
)
def test_a_size_the_patch_does_not_divide(size, patch):
    with pytest.raises(UserError, match="--data.img-size") as error:
        ImageRecipe("x", model=Model(patch_size=patch), data=Data(img_size=size))
    suggested = re.findall(r"(\d+)x(\d+)", error.value.hint)
    assert suggested
    for height, width in suggested:
        ImageRecipe("x", model=Model(patch_size=patch), data=Data(img_size=(int(height), int(width))))


def test_a_size_the_patch_divides():
    ImageRecipe("x", model=Model("resmlp_s12_p14"), data=Data(img_size=(224, 280)))


def test_a_backbone_in_place_of_the_trunk_has_its_own_patch_size():
    data = Data(img_size=(70,))
    with pytest.raises(UserError, match="patches of 16"):
        ImageRecipe("x", task=Segment(), data=data)
    assert ImageRecipe("x", task=Segment(backbone="vit_small_patch14_dinov2"), data=data).data == data


def test_recomputed_activations_would_count_a_batch_twice_in_batchnorm():
    with pytest.raises(UserError, match="BatchNorm"):
        ImageRecipe("x", model=Model(norm="batchnorm"), run=Run(checkpoint_activations=True))


def test_accumulation_divides_the_batch():
    with pytest.raises(UserError, match="--run.accumulate"):
        ImageRecipe("x", data=Data(batch_size=10), run=Run(accumulate=3))
    ImageRecipe("x", data=Data(batch_size=12), run=Run(accumulate=3))


@pytest.mark.parametrize("mix", [{"mixup": 0.8}, {"cutmix": 1.0}])
def test_mixing_needs_an_even_number_of_images(mix):
    for data, run in ((Data(batch_size=9), Run()), (Data(batch_size=6), Run(accumulate=2))):
        with pytest.raises(UserError, match="odd"):
            ImageRecipe("x", data=data, run=run, augment=Augment(**mix))
        ImageRecipe("x", data=data, run=run)
    ImageRecipe("x", data=Data(batch_size=8), run=Run(accumulate=2), augment=Augment(**mix))


# names and parts of networks


def test_a_model_has_its_timm_name_as_alias():
    assert Model("resmlp_12_224").network() == Model("resmlp_s12").network()
    assert complete(ImageRecipe("x", model=Model("resmlp_12_224"))).model == Model("resmlp_s12")
    assert canonical("resmlp_big_24_224") == "resmlp_b24_p8"


def test_changes_apply_to_the_named_architecture_and_none_changes_nothing():
    assert Model("resmlp_s24").network()[1] == ARCHITECTURES["resmlp_s24"]
    changed = Model("resmlp_s24", mixer="dwconv", depth=6, pos_embed=True).network()[1]
    assert (changed.mixer, changed.depth, changed.pos_embed, changed.dim) == ("dwconv", 6, True, 384)
    assert Model("deit_s", pos_embed=False).network()[1].pos_embed is False


def test_unknown_parts_are_errors():
    with pytest.raises(UserError, match="widht"):
        architecture("resmlp_s12", widht=3)


def test_data_gives_the_preprocessing():
    pre = Data(img_size=(32, 64), crop_ratio=0.8, interpolation="nearest", mean=(0.1, 0.2, 0.3)).preprocessing()
    assert (pre.size, pre.crop_ratio, pre.interpolation, pre.mean) == ((32, 64), 0.8, "nearest", (0.1, 0.2, 0.3))
    assert Data(img_size=(48,)).preprocessing().size == (48, 48)


def test_unset_preprocessing_is_that_of_the_checkpoint(tmp_path):
    seen = Preprocessing((32, 64), 0.7, "nearest", (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    left_open = Data(img_size=None, crop_ratio=None, interpolation=None, mean=None, std=None)
    assert left_open.completed(seen).preprocessing() == left_open.preprocessing(seen) == seen
    assert left_open.preprocessing() == Preprocessing((224, 224))
    set_here = Data(img_size=(48,), mean=(0, 0, 0), std=None).completed(seen)
    assert (set_here.img_size, set_here.mean, set_here.std) == ((48,), (0, 0, 0), (0.4, 0.5, 0.6))
    card = ModelConfig(TrunkConfig("resmlp_s12", ARCHITECTURES["resmlp_s12"], seen.size), seen)
    (tmp_path / "w.json").write_text(json.dumps(to_dict(card)))
    (tmp_path / "w.pth").touch()
    recipe = complete(ImageRecipe("x", model=Model("resmlp_s12", checkpoint=str(tmp_path / "w.pth")), data=left_open))
    assert recipe.data.preprocessing() == seen
    assert from_dict(ImageRecipe, to_dict(recipe)) == recipe


def test_unset_preprocessing_without_a_checkpoint_is_that_of_imagenet():
    recipe = ImageRecipe("x", data=Data(img_size=None, mean=None))
    assert complete(recipe).data == Data()


def test_published_weights_complete_a_recipe_without_the_hub():
    left_open = Data(img_size=None, mean=None, std=None)
    recipe = ImageRecipe("x", task=Segment(), model=Model("resmlp_s12.fb_in1k"), data=left_open)
    assert recipe.data == left_open
    whole = complete(recipe)
    assert whole.data == Data()
    assert whole.model == Model("resmlp_s12", checkpoint="resmlp_s12.fb_in1k")
    assert complete(whole) == whole == from_dict(ImageRecipe, to_dict(whole))
    with pytest.raises(UserError, match="does not divide"):  # by the size that the weights have
        complete(replace(recipe, model=recipe.model.updated(patch_size=15)))


def test_config_loads_nothing_heavy():
    heavy = {"torch", "torchvision", "timm", "accelerate", "sklearn", "matplotlib", "safetensors"}
    script = f"""
import sys
import resmlp, resmlp.config, resmlp.recipes, resmlp.utils.serialization, resmlp.utils.files, resmlp.utils.errors
print(*{heavy!r} & set(sys.modules))"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_a_complete_recipe_has_absolute_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "w.pth").touch()
    assert Data(root="images").root == "images"
    data, model = Data(root="images"), Model("resmlp_s12", checkpoint="w.pth")
    whole = complete(ImageRecipe("x", task=Distill(teacher="w.pth", cache="kept"), data=data, model=model))
    assert whole.data.root == str(tmp_path / "images")
    assert whole.model.checkpoint == whole.task.teacher == str(tmp_path / "w.pth")
    assert whole.task.cache == str(tmp_path / "kept")
    named = ImageRecipe("x", task=Distill(), data=Data(root="/images"), model=Model("resmlp_s12"))
    assert complete(named).task.teacher == "timm:regnety_160.deit_in1k"
    assert complete(named).data.root == "/images"


@pytest.mark.parametrize(
    ("size", "model", "local"),
    [
        ((224,), "resmlp_s12", (96,)),
        ((224,), "resmlp_s12_p14", (98,)),
        ((64,), "resmlp_s12", (32,)),
        ((16,), "resmlp_s12", (16,)),
        ((64, 224), "resmlp_s12", (32, 96)),
    ],
)
def test_small_views_follow_the_image_size_in_whole_patches(size, model, local):
    recipe = ImageRecipe("x", task=Dino(), model=Model(model), data=Data(img_size=size))
    whole = complete(recipe)
    assert whole.task.local_size == local
    assert complete(whole) == whole
    for task in (Dino(local_size=(80,)), Dino(local_crops="none"), Dino(local_views=0)):
        assert complete(replace(recipe, task=task)).task == task


def test_a_complete_recipe_has_the_network_of_the_checkpoint(tmp_path):
    network = architecture("resmlp_s12", mixer="mlp", dim=48, depth=3, token_hidden=20)
    card = ModelConfig(TrunkConfig("resmlp_s12", network, (32, 32), 5), Preprocessing((32, 32)))
    (tmp_path / "w.json").write_text(json.dumps(to_dict(card)))
    (tmp_path / "w.pth").touch()
    settings = Model("checkpoint", checkpoint=str(tmp_path / "w.pth"), drop_path=0.25, activation="relu")
    model = complete(ImageRecipe("x", model=settings, data=Data(img_size=None))).model
    (tmp_path / "w.json").unlink()
    assert model.network() == ("resmlp_s12", replace(network, activation="relu"))
    assert (model.drop_path, model.checkpoint) == (0.25, str(tmp_path / "w.pth"))
    with pytest.raises(UserError, match="no weights to start from"):
        complete(ImageRecipe("x", model=Model("checkpoint")))


def test_settings_use_no_file_and_no_hub():
    """Importing config and constructing any recipe opens no file and no socket."""
    script = """
import sys
import resmlp.config, resmlp.config.evaluation, resmlp.config.model_json, resmlp.config.tasks
print(*{"resmlp.hub", "resmlp.hub.resolve", "resmlp.utils.files", "huggingface_hub", "socket"} & set(sys.modules))
from resmlp.recipes import RECIPES
from resmlp.utils.serialization import from_dict, to_dict
from resmlp.config import Recipe
sys.addaudithook(lambda event, args: event in ("open", "os.listdir", "os.scandir", "socket.connect", "socket.__new__")
    and print(event, *args))
for recipe in RECIPES.values():
    from_dict(Recipe, to_dict(recipe))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
