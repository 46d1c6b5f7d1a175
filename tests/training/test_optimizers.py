"""Weight decay by role, checked by name against lists written by hand; schedules against closed forms."""

import math
import re

import pytest
import timm
import torch
from timm.optim import param_groups_layer_decay
from torch import nn

from resmlp import create_model
from resmlp.config import Model, Optim
from resmlp.config.model_json import SegmenterConfig
from resmlp.config.vision import ARCHITECTURES
from resmlp.models import Segmenter, build_segmenter
from resmlp.training.optimizers import (
    layers,
    learning_rate,
    make_optimizer,
    optimizer_summary,
    parameter_groups,
    roles,
    undecayed,
)
from resmlp.utils.errors import UserError

SMALL = {"dim": 12, "depth": 1}
ENDS = ["embed.patches.proj.weight", "head.weight"]
CHANNELS = ["blocks.0.channels.fn.fc1.weight", "blocks.0.channels.fn.fc2.weight"]
DECAYED = {
    "linear": (
        {},
        ["blocks.0.tokens.fn.weight"],
    ),
    "mlp": (
        {"mixer": "mlp"},
        ["blocks.0.tokens.fn.fc1.weight", "blocks.0.tokens.fn.fc2.weight"],
    ),
    "conv3x3": (
        {"mixer": "conv3x3"},
        ["blocks.0.tokens.fn.conv.weight"],
    ),
    "dwconv": (
        {"mixer": "dwconv"},
        ["blocks.0.tokens.fn.conv.weight"],
    ),
    "sepconv": (
        {"mixer": "sepconv"},
        ["blocks.0.tokens.fn.conv.weight", "blocks.0.tokens.fn.pointwise.weight"],
    ),
    "attention, class token and positions": (
        {"mixer": "attention", "pool": "classtoken", "pos_embed": True},
        ["blocks.0.tokens.fn.qkv.weight", "blocks.0.tokens.fn.proj.weight"],
    ),
    "none": ({"mixer": "none"}, []),
    "layernorm": ({"norm": "layernorm"}, ["blocks.0.tokens.fn.weight"]),
    "batchnorm": ({"norm": "batchnorm"}, ["blocks.0.tokens.fn.weight"]),
    "affine for LayerScale": ({"scale": "affine"}, ["blocks.0.tokens.fn.weight"]),
    "post-norm": ({"residual": "post"}, ["blocks.0.tokens.fn.weight"]),
}


def decayed(model: nn.Module) -> set[str]:
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {names[id(p)] for p in parameter_groups(model, 0.3)[0]["params"]}


@pytest.mark.parametrize("name", DECAYED)
def test_decay_falls_on_these_weights_and_no_others(name):
    changes, own = DECAYED[name]
    model = create_model("resmlp_s12", img_size=32, num_classes=5, **SMALL, **changes)
    assert decayed(model) == {*ENDS, *CHANNELS, *own}


def test_decay_reaches_the_gather_of_class_mlp_but_not_its_token():
    model = create_model("resmlp_s12_classmlp", img_size=32, num_classes=5, **SMALL)
    names = {name for name in decayed(model) if name.startswith("blocks.1.")}
    assert any("token" not in name.split(".")[-1] for name in names)
    token = next(name for name, p in model.named_parameters() if name.startswith("blocks.1.") and p.shape == (1, 1, 12))
    assert token not in names
    gathers = [n for n, p in model.named_parameters() if p.shape == (1, 5) and n.startswith("blocks.1.")]
    assert gathers
    assert set(gathers) <= names


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_in_every_network_only_matrices_and_kernels_decay(name):
    """By an independent rule, on names: no scale, shift, bias, norm, token or embedding."""
    arch = ARCHITECTURES[name]
    model = create_model(name, img_size=2 * arch.patch_size, num_classes=3, dim=12, depth=2)
    left_alone = re.compile(r"(alpha|beta|gamma|bias|token|embedding)$|(^|\.)norm\d?\.")
    expected = {n for n, _ in model.named_parameters() if not left_alone.search(n)}
    assert decayed(model) == expected
    assert all(p.ndim >= 2 for n, p in model.named_parameters() if n in expected)


def test_groups_hold_each_trainable_parameter_once_and_no_frozen_one():
    model = create_model("resmlp_digits", img_size=8, num_classes=3)
    model.embed.requires_grad_(False)
    decay, rest = parameter_groups(model, 0.3)
    assert (decay["weight_decay"], rest["weight_decay"]) == (0.3, 0.0)
    held = [id(p) for p in (*decay["params"], *rest["params"])]
    assert sorted(held) == sorted(id(p) for p in model.parameters() if p.requires_grad)
    assert len(set(held)) == len(held)


def test_a_weight_shared_by_two_modules_is_optimized_once():
    """As in a translator with a shared embedding and output matrix."""
    model = nn.ModuleDict({"one": nn.Linear(4, 4), "two": nn.Linear(4, 4)})
    model["two"].weight = model["one"].weight
    assert len(list(roles(model))) == 3
    make_optimizer(model, Optim("adamw"))


def test_parameters_without_decay_are_counted():
    model = create_model("resmlp_digits", img_size=8, num_classes=3, depth=1)
    assert undecayed(model) == "Affine 6, LayerScale 2, bias 5 tensors"


# layer 0 is the patch embedding, i + 1 block i, depth + 1 the last norm and the head (BEiT's numbering)
EXPECTED_LAYER = {
    "embed.patches.proj.weight": 0,
    "embed.position.embedding": 0,
    "blocks.0.tokens.fn.weight": 1,
    "blocks.0.channels.scale.gamma": 1,
    "blocks.2.channels.fn.fc2.bias": 3,
    "norm.alpha": 4,
    "head.weight": 4,
    "head.bias": 4,
}


def test_each_layer_has_its_learning_rate():
    model = create_model("resmlp_s12", img_size=32, num_classes=5, dim=12, depth=3, pos_embed=True)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = parameter_groups(model, 0.3, layer_decay=0.5)
    scale = scales(model, groups)
    assert {name: scale[name] for name in EXPECTED_LAYER} == {n: 0.5 ** (4 - i) for n, i in EXPECTED_LAYER.items()}
    assert len(scale) == sum(len(group["params"]) for group in groups) == len(names)
    assert sorted({*scale.values()}) == [1 / 16, 1 / 8, 1 / 4, 1 / 2, 1]
    together = {names[id(p)] for group in groups if group["weight_decay"] for p in group["params"]}
    assert together == decayed(model), "the roles stay"


def test_without_layer_decay_two_groups_have_the_full_learning_rate():
    model = create_model("resmlp_s12", img_size=32, num_classes=5, dim=12, depth=3)
    assert [group["lr_scale"] for group in parameter_groups(model, 0.3)] == [1, 1]


def test_the_layers_of_a_wrapped_trunk_and_of_a_network_without_trunk():
    model = nn.ModuleDict({"trunk": create_model("resmlp_s12", img_size=32, num_classes=0, dim=12, depth=1)})
    model["projection"] = nn.Linear(12, 4)
    layer = layers(model)
    assert layer[model["trunk"].embed.patches.proj.weight] == 0
    assert layer[model["projection"].weight] == layer[model["trunk"].norm.alpha] == 2
    assert len(parameter_groups(nn.Linear(3, 3), 0.1, layer_decay=0.5)) == 2


def scales(model: nn.Module, groups: list[dict]) -> dict[str, float]:
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {names[id(p)]: group["lr_scale"] for group in groups for p in group["params"]}


def test_a_decoder_has_the_full_learning_rate_and_its_trunk_layer_decay():
    shape = {"dim": 12, "depth": 3, "pos_embed": True}
    classifier = create_model("resmlp_s12", img_size=32, num_classes=5, **shape)
    model, _ = build_segmenter(Model("resmlp_s12", **shape), (32, 32), 5, width=8, auxiliary=4)
    alone = scales(classifier, parameter_groups(classifier, 0.3, layer_decay=0.5))
    found = scales(model, parameter_groups(model, 0.3, layer_decay=0.5))
    trunk = {name: scale for name, scale in found.items() if name.startswith("backbone.trunk.")}
    assert trunk == {name: alone[name.removeprefix("backbone.trunk.")] for name in trunk}
    assert any(".psp.blocks.0." in name for name in found)
    assert {scale for name, scale in found.items() if name not in trunk} == {1}


def on_timm(name: str) -> nn.Module:
    with torch.device("meta"):
        return Segmenter(SegmenterConfig((224, 224), 3, None, name, width=8, auxiliary=4))


@pytest.mark.parametrize(
    "name", ["deit_tiny_patch16_224", "convnext_atto", "swin_tiny_patch4_window7_224", "resnet18", "vgg11"]
)
def test_a_timm_backbone_has_the_layer_decay_of_timm(name):
    model, prefix = on_timm(name), "backbone.net.model."
    with torch.device("meta"):
        whole = timm.create_model(name)
    theirs = scales(whole, param_groups_layer_decay(whole, layer_decay=0.5))
    found = scales(model, parameter_groups(model, 0.3, layer_decay=0.5))
    own = {key.removeprefix(prefix): scale for key, scale in found.items() if key.startswith(prefix)}
    assert own == {key: theirs[key] for key in own}
    assert len(set(own.values())) > 4
    assert {scale for key, scale in found.items() if not key.startswith(prefix)} == {1}


def test_a_timm_network_without_groups_is_an_error():
    model = on_timm("caformer_s18")
    assert len(parameter_groups(model, 0.3)) == 2
    with pytest.raises(UserError, match="timm defines no layers of caformer_s18.*--optim.layer-decay"):
        parameter_groups(model, 0.3, layer_decay=0.5)


@pytest.mark.parametrize("name", ["adamw", "sgd", "lamb", "adagrad"])
def test_optimizers_have_their_settings(name):
    optim = Optim(name, lr=0.5, weight_decay=0.25, momentum=0.8, beta2=0.95)
    made = make_optimizer(nn.Linear(3, 2), optim)
    assert type(made).__name__.lower() == name
    assert [group["weight_decay"] for group in made.param_groups] == [0.25, 0.0]
    for group in made.param_groups:
        assert group["lr"] == 0.5
        if name in ("adamw", "lamb"):
            assert tuple(group["betas"]) == (0.8, 0.95)
        assert group.get("momentum") == (0.8 if name == "sgd" else None)


@pytest.mark.isa
def test_adagrad_divides_by_the_root_of_all_squared_gradients():
    """w -= lr g / (sqrt(sum of g^2 so far) + eps), Duchi et al. 2011."""
    layer = nn.Linear(1, 1, bias=False)
    layer.weight.data.fill_(1.0)
    made, expected, squares = make_optimizer(layer, Optim("adagrad", lr=0.2, weight_decay=0.0)), 1.0, 0.0
    for gradient in (0.5, -2.0, 1e-6):
        layer.weight.grad = torch.full((1, 1), gradient)
        made.step()
        squares += gradient**2
        expected -= 0.2 * gradient / (math.sqrt(squares) + 1e-10)
        assert layer.weight.item() == pytest.approx(expected, abs=1e-6)


def test_an_embedding_is_not_decayed_even_as_the_output_matrix():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.words, self.inner = nn.Embedding(5, 3), nn.Linear(3, 3)

    assert decayed(Tied()) == {"inner.weight"}
    assert undecayed(Tied()) == "Embedding 1, bias 1 tensors"


@pytest.mark.isa
@pytest.mark.parametrize("name", ["adamw", "sgd", "lamb"])
def test_decay_applies_only_to_weights(name):
    """With zero gradients the weight shrinks, by lr * decay where it is decoupled, and the bias stays."""
    layer = nn.Linear(3, 2)
    before = layer.weight.detach().clone(), layer.bias.detach().clone()
    for parameter in layer.parameters():
        parameter.grad = torch.zeros_like(parameter)
    make_optimizer(layer, Optim(name, lr=0.1, weight_decay=0.5)).step()
    assert torch.equal(layer.bias, before[1])
    assert layer.weight.norm() < before[0].norm()
    if name != "lamb":  # its trust ratio rescales the step
        torch.testing.assert_close(layer.weight, before[0] * (1 - 0.1 * 0.5))


COSINE = Optim(lr=0.2, min_lr=0.02, warmup_epochs=2, warmup_lr=0.01, schedule="cosine")


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (0, 0.01),
        (1, 0.01 + 0.19 / 20),
        (10, 0.01 + 0.19 / 2),
        (20, 0.2),
        (20 + 40, 0.02 + 0.18 / 2),
        (20 + 20, 0.02 + 0.18 * (1 + math.sqrt(0.5)) / 2),
        (100, 0.02),
        (120, 0.02),
    ],
)
def test_warm_up_then_half_a_cosine(step, expected):
    """Ten steps per epoch, ten epochs, two of them warm-up."""
    assert learning_rate(COSINE, step, 10, 10) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("epoch", "power"), [(0, 0), (29.99, 0), (30, 1), (59, 1), (60, 2), (80, 3), (89.9, 3)])
def test_steps_divide_by_ten_at_milestones(epoch, power):
    optim = Optim("sgd", lr=0.1, schedule="step", milestones=(30, 60, 80), warmup_epochs=0)
    assert learning_rate(optim, round(epoch * 100), 100, 90) == pytest.approx(0.1 / 10**power)


INVERSE = Optim("adamw", lr=0.4, schedule="inverse-sqrt", warmup_steps=16, warmup_lr=0.0)


@pytest.mark.parametrize(
    ("step", "expected"), [(0, 0.0), (1, 0.025), (15, 0.375), (16, 0.4), (64, 0.2), (100, 0.16), (1600, 0.04)]
)
def test_the_inverse_root_of_the_step(step, expected):
    """Vaswani et al. 2017, equation 3, with the peak learning rate: lr * min(step / warm-up, sqrt(warm-up / step))."""
    for steps_per_epoch in (1, 10, 7777):  # it counts in steps
        assert learning_rate(INVERSE, step, steps_per_epoch, 10) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("step", "expected"), [(0, 0.0), (8_000, 0.05), (32_000, 0.2), (10**6, 0.2)])
def test_a_constant_learning_rate_after_the_warm_up(step, expected):
    optim = Optim("adagrad", lr=0.2, schedule="constant", warmup_steps=32_000, warmup_lr=0.0)
    assert learning_rate(optim, step, 5_000, 300) == pytest.approx(expected, rel=1e-12)


def test_warm_up_steps_replace_epochs():
    steps, epochs = Optim(warmup_steps=20), Optim(warmup_epochs=2)
    assert [learning_rate(steps, i, 10, 10) for i in range(100)] == [
        learning_rate(epochs, i, 10, 10) for i in range(100)
    ]
    assert learning_rate(Optim(lr=0.1, warmup_steps=0), 0, 10, 10) == 0.1


def test_an_inverse_root_needs_a_warm_up():
    for none in ({"warmup_steps": 0}, {"warmup_epochs": 0}):
        with pytest.raises(UserError, match="--optim.schedule inverse-sqrt"):
            Optim(schedule="inverse-sqrt", **none)


@pytest.mark.parametrize(
    ("optim", "words"),
    [
        (COSINE, "lamb, effective lr 0.2, 2 warm-up epochs, cosine to 0.02"),
        (INVERSE, "adamw, effective lr 0.4, 16 warm-up steps (1.6 epochs), inverse square root of the step, to 0.16"),
        (
            Optim("adagrad", lr=0.2, schedule="constant", warmup_steps=32_000),
            "adagrad, effective lr 0.2, 32,000 warm-up steps (3.2e+03 epochs), the whole run: the learning rate never "
            "reaches its peak, constant",
        ),
        (
            Optim("sgd", lr=0.1, schedule="step", milestones=(3, 6), warmup_epochs=0),
            "sgd, effective lr 0.1, 0 warm-up epochs, /10 at (3, 6)",
        ),
    ],
)
def test_optimizer_summary(optim, words):
    assert optimizer_summary(optim, 10, 10) == words


def test_the_learning_rate_falls_after_the_warm_up():
    rates = [learning_rate(COSINE, step, 10, 10) for step in range(100)]
    assert all(a < b for a, b in zip(rates[:20], rates[1:21]))
    assert all(a > b for a, b in zip(rates[20:], rates[21:]))


def test_a_warm_up_as_long_as_the_run_is_no_error():
    assert learning_rate(COSINE, 19, 10, 2) == pytest.approx(0.01 + 0.19 * 0.95)


@pytest.mark.parametrize("power", [1.0, 0.9])
def test_poly_is_a_power_of_the_remaining_fraction(power):
    optim = Optim(lr=0.4, schedule="poly", power=power, warmup_steps=10, warmup_lr=0.0, min_lr=0.1)
    rates = [learning_rate(optim, step, steps_per_epoch=10, epochs=6) for step in range(61)]
    assert rates[5] == pytest.approx(0.2), "the middle of the warm-up"
    for step in range(10, 61):
        assert rates[step] == pytest.approx(0.1 + 0.3 * ((60 - step) / 50) ** power)
