"""What a network promises of shapes, sizes, heads and memory, checked against plain torch and by counting."""

import subprocess
import sys

import pytest
import torch

from resmlp.models import create_model, list_models
from resmlp.utils.errors import UserError

TINY = {"dim": 8, "depth": 2, "patch_size": 4, "img_size": (8, 12), "num_classes": 5}


def tiny(**changes):
    return create_model(changes.pop("name", "resmlp_s12"), **TINY | changes)


def test_rectangular_images():
    model = tiny()
    tokens = model.forward_features(torch.randn(2, 3, 8, 12))
    assert tokens.shape == (2, 2 * 3, 8)
    assert model.forward_head(tokens).shape == (2, 5)
    assert model.config.grid == (2, 3)


@pytest.mark.parametrize("mixer", ["linear", "mlp", "conv3x3", "dwconv", "sepconv", "attention", "none"])
def test_every_mixer_keeps_the_shape_and_trains(mixer):
    model = tiny(mixer=mixer, dim=12, layer_scale=0.1)
    model(torch.randn(2, 3, 8, 12)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_one_number_is_a_square():
    assert tiny(img_size=16).config.size == (16, 16)


@pytest.mark.isa
@pytest.mark.parametrize(("name", "extra"), [("resmlp_s12", 0), ("resmlp_s12_classmlp", 1), ("deit_s", 1)])
def test_no_classes_gives_features(name, extra):
    model, images = tiny(name=name, dim=12, num_classes=0).double(), torch.randn(2, 3, 8, 12).double()
    tokens = model.forward_features(images)
    assert tokens.shape == (2, extra + 6, 12)
    expected = tokens[:, 0] if extra else tokens.sum(dim=1) / 6
    torch.testing.assert_close(model(images), expected)
    assert not [key for key in model.state_dict() if key.startswith("head")]


@pytest.mark.isa
def test_logits_are_the_head_on_the_mean_token():
    model, images = tiny().double(), torch.randn(2, 3, 8, 12).double()
    mean = model.forward_features(images).mean(dim=1)
    torch.testing.assert_close(model(images), mean @ model.head.weight.T + model.head.bias)


def test_reset_classifier():
    model, images = tiny(), torch.randn(2, 3, 8, 12)
    before = model.forward_features(images)
    model.reset_classifier(9)
    assert model(images).shape == (2, 9)
    assert model.config.num_classes == 9
    model.reset_classifier(0)
    assert model(images).shape == (2, 8)
    assert model.config.num_classes == 0
    assert torch.equal(model.forward_features(images), before)


@pytest.mark.parametrize("shape", [(2, 3, 12, 8), (2, 3, 16, 16), (2, 3, 8, 13)])
def test_a_image_of_another_size_is_refused(shape):
    with pytest.raises(UserError, match="8x12") as error:
        tiny()(torch.randn(shape))
    assert str(shape) in str(error.value)


@pytest.mark.parametrize("size", [225, (224, 230), 0, -16, 15])
def test_a_size_the_patch_does_not_divide_is_refused(size):
    with pytest.raises(UserError, match="patches of 16|1 or more"):
        create_model("resmlp_s12", img_size=size)


@pytest.mark.parametrize("options", [{}, {"pool": "classmlp"}, {"drop_path": 0.4}, {"mixer": "attention"}])
def test_checkpointed_activations_give_the_same_gradients(options):
    plain, saving = (
        tiny(**options, layer_scale=0.5, **({"dim": 12} if "mixer" in options else {})).train() for _ in range(2)
    )
    saving.load_state_dict(plain.state_dict())
    saving.checkpoint_activations = True
    images = torch.randn(6, 3, 8, 12)
    for model in (plain, saving):
        torch.manual_seed(3)
        model(images).square().sum().backward()
    for (name, a), b in zip(plain.named_parameters(), saving.parameters()):
        assert torch.equal(a.grad, b.grad), name


def test_checkpointed_activations_are_recomputed():
    model, calls = tiny().train(), []
    model.blocks[0].register_forward_pre_hook(lambda *_: calls.append(1))
    model.checkpoint_activations = True
    model(torch.randn(1, 3, 8, 12)).sum().backward()
    assert len(calls) == 2
    model.eval()(torch.randn(1, 3, 8, 12))
    assert len(calls) == 3, "not in evaluation"


def test_post_norm_has_the_same_parameters_as_pre_norm():
    assert tiny(residual="post").state_dict().keys() == tiny().state_dict().keys()


def test_names():
    assert "resmlp_s24" in list_models()
    assert list_models("mixer_*") == [f"mixer_{s}{p}" for s in "sbl" for p in (32, 16)]
    aliases = {"resmlp_12_224": "resmlp_s12", "resmlp_big_24_224": "resmlp_b24_p8", "mixer_b16_224": "mixer_b16"}
    for theirs, ours in aliases.items():
        with torch.device("meta"):
            assert create_model(theirs).config.name == ours


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: create_model("resmlp_s13"), "resmlp_s12"),
        (lambda: create_model("resmlp_s12", depht=3), "depht"),
        (lambda: create_model("resmlp_s12_classmlp", pretrained=True), "resmlp_s12_classmlp"),
        (lambda: create_model("resmlp_s12.fb_distiled_in1k", pretrained=True), r"resmlp_s12\.fb_distilled_in1k"),
        (lambda: create_model("resmlp_12_224.nobody_in1k"), r"resmlp_s12\.nobody_in1k"),
        (lambda: create_model("resmlp_s12", pretrained=True, checkpoint="x.pth"), "both"),
    ],
    ids=["name", "part", "no weights", "tag", "tag alone", "two"],
)
def test_mistakes_are_named(call, says):
    with pytest.raises(UserError, match=says):
        call()


@pytest.mark.parametrize(
    "changes",
    [
        {"mixer": "lineer"},
        {"norm": "rmsnorm"},
        {"activation": "gleu"},
        {"scale": "no"},
        {"residual": "both"},
        {"pool": "max"},
        {"patch_size": 0},
        {"patch_size": -4},
        {"dim": 0},
        {"dim": -8},
        {"depth": -1},
        {"mlp_ratio": -1.0},
        {"drop_path": 1.0},
        {"drop_path": -0.1},
        {"num_classes": -1},
        {"mixer": "attention", "heads": 6, "dim": 8},
        {"init": "xavier"},
    ],
    ids=str,
)
def test_a_part_or_size_that_cannot_be_is_refused_when_the_network_is_made(changes):
    """`create_model` says of itself: raises `UserError`."""
    with pytest.raises(UserError):
        tiny(**changes)


def test_models_need_no_timm():
    script = "import sys, resmlp.models; print(*{'timm', 'torchvision', 'accelerate'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
