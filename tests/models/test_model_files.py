"""`model.safetensors` + `model.json`: what is saved comes back to the bit, and a file that was touched is refused."""

import json
import shutil
import subprocess
import sys

import pytest
import torch
from torch import nn

from resmlp.config.preprocessing import Preprocessing
from resmlp.models import create_model, open_model, save_model
from resmlp.utils.errors import UserError

CLASSES = ("cat", "dog", "żółw", "a b", "")
PREPROCESSING = Preprocessing((8, 12), 0.875, "bilinear", (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))


def tiny(**changes):
    sizes = {"dim": 12, "depth": 2, "patch_size": 4, "img_size": (8, 12), "num_classes": 5}
    return create_model(changes.pop("name", "resmlp_s12"), **sizes | changes)


@pytest.fixture
def folder(tmp_path):
    save_model(tmp_path / "run", tiny(), CLASSES, PREPROCESSING)
    return tmp_path / "run"


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"drop_path": 0.1},
        {"name": "resmlp_s12_classmlp"},
        {"name": "mixer_s16"},
        {"name": "deit_s"},
        {"norm": "batchnorm", "scale": "affine", "residual": "post", "activation": "relu", "pos_embed": True},
        {"mixer": "sepconv", "num_classes": 0},
    ],
    ids=str,
)
def test_round_trip_is_exact(options, tmp_path):
    model = tiny(**options)
    with torch.no_grad():
        for tensor in model.state_dict().values():
            if tensor.is_floating_point():
                tensor.uniform_(0.1, 1)
    save_model(tmp_path, model, CLASSES, PREPROCESSING)
    saved = open_model(tmp_path)
    assert saved.classes == CLASSES
    assert saved.preprocessing == PREPROCESSING
    assert saved.model.config == model.config
    assert not saved.model.training
    theirs = saved.model.state_dict()
    assert theirs.keys() == model.state_dict().keys()
    assert all(torch.equal(theirs[k], v) for k, v in model.state_dict().items())
    images = torch.randn(2, 3, 8, 12)
    assert torch.equal(saved.model(images), model.eval()(images))


def test_a_new_head_is_saved_with_its_class_count(tmp_path):
    model = tiny()
    model.reset_classifier(3)
    save_model(tmp_path, model, ("a", "b", "c"), PREPROCESSING)
    assert open_model(tmp_path).model(torch.randn(1, 3, 8, 12)).shape == (1, 3)


def test_the_file_alone_will_do_under_another_name(folder, tmp_path):
    for suffix in (".safetensors", ".json"):
        shutil.copy(folder / f"model{suffix}", tmp_path / f"mine{suffix}")
    assert open_model(tmp_path / "mine.safetensors").classes == CLASSES
    assert open_model(str(tmp_path / "mine.safetensors")).classes == CLASSES


def test_nothing_else_is_left_in_the_folder(folder):
    assert sorted(p.name for p in folder.iterdir()) == ["model.json", "model.safetensors"]


# broken folders


def test_missing_weights(folder):
    (folder / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"no model\.safetensors in"):
        open_model(folder)
    (folder / "recipe.json").write_text("{}")
    with pytest.raises(UserError, match="not finished"):
        open_model(folder)


@pytest.mark.parametrize("path", ["nowhere", "nowhere/model.safetensors", "nowhere.safetensors"])
def test_missing_everything(path, tmp_path):
    with pytest.raises(UserError, match="nowhere"):
        open_model(tmp_path / path)


def test_missing_card(folder):
    (folder / "model.json").unlink()
    with pytest.raises(UserError, match=r"model\.json"):
        open_model(folder)


def test_truncated_weights(folder):
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(UserError, match=r"cannot read weights from .*model\.safetensors"):
        open_model(folder)


def test_weights_of_another_model(folder, tmp_path):
    save_model(tmp_path / "other", tiny(num_classes=4), CLASSES[:4], PREPROCESSING)
    shutil.copy(tmp_path / "other/model.safetensors", folder)
    with pytest.raises(UserError, match=r"head\.(weight|bias) is \(4") as error:
        open_model(folder)
    assert "(5" in str(error.value)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", '"model"', "\x00\x01", "{}", '{"model": {}}', "[" * 100_000],
    ids=lambda t: repr(t[:20]),
)
def test_a_card_that_is_no_card(text, folder):
    (folder / "model.json").write_text(text)
    with pytest.raises(UserError):
        open_model(folder)


def test_a_card_of_other_bytes(folder):
    (folder / "model.json").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(UserError, match=r"model\.json"):
        open_model(folder)


def tampered(card, path, value):
    *parents, last = path.split(".")
    for key in parents:
        card = card[key]
    card[last] = value


TAMPERED = [
    ("classes", "cat"),
    ("classes", [1, 2]),
    ("classes", None),
    ("model", None),
    ("model", []),
    ("model.name", 3),
    ("model.num_classes", "5"),
    ("model.num_classes", True),
    ("model.num_classes", 5.0),
    ("model.size", 224),
    ("model.size", [8]),
    ("model.size", [8, 12, 3]),
    ("model.size", ["8", "12"]),
    ("model.size", [9, 12]),
    ("model.size", [0, 0]),
    ("model.drop_path", None),
    ("model.architecture", {"dim": "12"}),
    ("model.architecture.mixer", "lineer"),
    ("model.architecture.mixer", ["linear"]),
    ("model.architecture.norm", "__class__"),
    ("model.architecture.mlp_ratio", "4"),
    ("model.architecture.token_hidden", 1.5),
    ("preprocessing", 1),
    ("preprocessing.mean", [0.5]),
    ("preprocessing.mean", [0.5, 0.5, "x"]),
    ("preprocessing.interpolation", "lanczos9"),
    ("model.surprise", 1),
    ("surprise", 1),
    ("preprocessing.surprise", 1),
    ("model.architecture.surprise", 1),
    # of the right type, and impossible
    ("classes", ["one name", "for five logits"]),
    ("model.num_classes", -1),
    ("model.architecture.patch_size", 0),
    ("model.architecture.patch_size", -4),
    ("model.architecture.dim", -12),
    ("model.architecture.dim", 0),
    ("model.architecture.depth", -1),
    ("model.architecture.mlp_ratio", -4.0),
    ("model.architecture.mlp_ratio", 10**400),
    ("model.drop_path", 1.5),
    ("preprocessing.crop_ratio", 0),
    ("preprocessing.size", [0, -3]),
]


@pytest.mark.parametrize(("path", "value"), TAMPERED, ids=[f"{p}={v!r}"[:60] for p, v in TAMPERED])
def test_a_tampered_card_is_refused(path, value, folder):
    card = json.loads((folder / "model.json").read_text())
    tampered(card, path, value)
    (folder / "model.json").write_text(json.dumps(card))
    with pytest.raises(UserError):
        open_model(folder)


@pytest.mark.parametrize("path", ["model.surprise", "surprise", "preprocessing.crop_ration"])
def test_an_unknown_field_is_named(path, folder):
    card = json.loads((folder / "model.json").read_text())
    tampered(card, path, 1)
    (folder / "model.json").write_text(json.dumps(card))
    with pytest.raises(UserError, match=path.replace(".", r"\.")):
        open_model(folder)


FULL_DISK = """
import resource, sys
from pathlib import Path
from resmlp.config.preprocessing import Preprocessing
from resmlp.utils.errors import UserError
from resmlp.models import create_model, save_model
model = create_model("resmlp_s12", dim=12, depth=2, patch_size=4, img_size=(8, 12), num_classes=5)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))  # stands for a disk that is full
try:
    save_model(Path(sys.argv[1]), model, (), Preprocessing((8, 12)))
except UserError as error:
    print("UserError:", error)
"""


def test_a_full_disk_is_said_in_a_line_and_the_old_file_stays(folder):
    before = (folder / "model.safetensors").read_bytes()
    done = subprocess.run([sys.executable, "-c", FULL_DISK, folder], capture_output=True, text=True, check=False)
    assert (folder / "model.safetensors").read_bytes() == before
    assert sorted(p.name for p in folder.iterdir()) == ["model.json", "model.safetensors"]
    assert done.stdout.startswith("UserError: cannot write"), done.stderr


# what MODEL means


def test_open_model_by_folder(folder):
    assert open_model(str(folder)).classes == CLASSES


@pytest.mark.parametrize(
    ("name", "ours"), [("resmlp_s12", "resmlp_s12"), ("resmlp_12_224", "resmlp_s12"), ("mixer_s16_224", "mixer_s16")]
)
def test_open_model_by_name(name, ours):
    with torch.device("meta"):
        saved = open_model(name)
    assert saved.model.config.name == ours
    assert saved.classes == ()
    assert saved.preprocessing.size == (224, 224)
    assert not saved.model.training


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("resmlp_s21", "resmlp_s24"),
        ("resmpl_12_224", "resmlp_12_224"),
        ("nowhere/run", "no model at nowhere/run"),
        ("nowhere.safetensors", "nowhere"),
        ("timm:resmlp_13_224", "resmlp_12_224"),
        ("timm:", "timm"),
        ("timm:resmlp_12_224.no_such_tag", "no_such_tag"),
        ("x" * 300, "x"),
    ],
    ids=lambda value: value[:30],
)
def test_open_model_unknown(name, says):
    with pytest.raises(UserError, match=says):
        open_model(name)


def test_open_model_of_timm():
    saved = open_model("timm:resmlp_12_224")
    assert isinstance(saved.model, nn.Module)
    assert type(saved.model).__module__.startswith("timm.")
    assert not saved.model.training
    assert saved.preprocessing == Preprocessing((224, 224), 0.875)  # bicubic, ImageNet's mean and std


def test_open_model_of_timm_takes_its_own_normalization():
    saved = open_model("timm:mixer_s32_224")
    assert saved.preprocessing.mean == saved.preprocessing.std == (0.5, 0.5, 0.5)
