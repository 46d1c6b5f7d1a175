"""Muon with AdamW against the formulas in float64; the parameters of each, by hand, for one network of each task."""

from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from torch import nn

from resmlp import create_model
from resmlp.config import Model, Optim
from resmlp.config.model_json import SegmenterConfig, Seq2SeqConfig
from resmlp.config.seq2seq import SEQ2SEQ
from resmlp.models import Segmenter, Seq2Seq, build_segmenter
from resmlp.nn.dino_head import ProjectionHead
from resmlp.tasks.dino_views import DinoNetwork
from resmlp.training.muon import Muon, MuonAdamW, hidden_matrices, orthogonalized
from resmlp.training.optimizers import make_optimizer, muon_summary, optimizer_summary, set_schedule
from resmlp.utils.errors import UserError

BF16 = 2.0**-8
"""half the distance of 1 to the next number in bf16, in which torch iterates"""


def newton_schulz(matrix: torch.Tensor) -> torch.Tensor:
    """Five steps of a X + b (X X^T) X + c (X X^T)^2 X in float64 (Jordan et al. 2024)."""
    x = matrix.double() / matrix.double().norm()
    for _ in range(5):
        gram = x @ x.T
        x = 3.4445 * x - 4.7750 * gram @ x + 2.0315 * gram @ gram @ x
    return x


def well_conditioned(height: int, width: int, seed: int = 0) -> torch.Tensor:
    """A matrix with singular values from 1 to 2."""
    generator = torch.Generator().manual_seed(seed)
    u, _, v = torch.linalg.svd(torch.randn(height, width, generator=generator, dtype=torch.float64), False)
    return (u * torch.linspace(1, 2, min(height, width), dtype=torch.float64)) @ v


def network(height: int, width: int) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(width, height), nn.LayerNorm(height))


def gradients(model: nn.Module, seed: int) -> None:
    for number, parameter in enumerate(model.parameters()):
        generator = torch.Generator().manual_seed(100 * seed + number)
        parameter.grad = torch.randn(parameter.shape, generator=generator)


@pytest.mark.isa
@pytest.mark.parametrize(("height", "width"), [(12, 12), (8, 32), (32, 8), (2, 30)])
def test_a_step_is_near_the_polar_factor(height, width):
    """U V^T of the gradient, of the size of a step of AdamW: 0.2 sqrt(larger side) lr (Liu et al. 2025, equation 4)."""
    model, gradient = network(height, width), well_conditioned(height, width)
    before = model[0].weight.detach().double()
    gradients(model, 0)
    model[0].weight.grad = gradient.float()
    make_optimizer(model, Optim("muon", lr=0.5, weight_decay=0.0)).step()
    step = (before - model[0].weight.double()) / (0.5 * 0.2 * max(height, width) ** 0.5)
    u, _, v = torch.linalg.svd(gradient, full_matrices=False)
    assert torch.linalg.svdvals(step).sub(1).abs().max() < 0.35
    assert (step * (u @ v)).sum() / step.norm() / (u @ v).norm() > 0.96, "the cosine of the angle between them"
    torch.testing.assert_close(step, newton_schulz(gradient), rtol=0, atol=8 * BF16)


@pytest.mark.isa
def test_three_steps_follow_the_formulas():
    """Nesterov momentum and decoupled decay of the matrix; AdamW of the vectors, as torch's own alone."""
    model = network(10, 6)
    optim = Optim("muon", lr=0.1, weight_decay=0.3, momentum=0.8, beta2=0.9)
    ours, alone = make_optimizer(model, optim), deepcopy(model)
    others = [alone[0].bias, *alone[1].parameters()]
    adamw = torch.optim.AdamW(others, lr=0.1, betas=(0.8, 0.9), weight_decay=0.0, fused=True)
    weight, average = model[0].weight.detach().double(), torch.zeros(10, 6).double()
    scale = 0.1 * 0.2 * 10**0.5
    for step in range(3):
        gradients(model, step)
        gradients(alone, step)
        gradient = model[0].weight.grad.double()
        average = 0.8 * average + 0.2 * gradient
        direction = newton_schulz(0.2 * gradient + 0.8 * average)
        weight = weight * (1 - 0.1 * 0.3) - scale * direction
        ours.step()
        adamw.step()
        torch.testing.assert_close(model[0].weight.double(), weight, rtol=0, atol=(step + 1) * scale * 8 * BF16)
    for mine, theirs in zip([model[0].bias, *model[1].parameters()], others):
        assert torch.equal(mine, theirs)


@pytest.mark.parametrize(("units", "near"), [(("fp32",), 1e-5), (("fp32", "bf16"), 8 * BF16)])
def test_products_are_in_a_precision_that_the_cpu_has(monkeypatch, units, near):
    monkeypatch.setattr("resmlp.training.muon.device_precisions", lambda device: units)
    matrices = torch.stack([well_conditioned(24, 16, seed) for seed in range(3)])
    expected = torch.stack([newton_schulz(matrix.T).T for matrix in matrices])
    found = orthogonalized(matrices.float())
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=near)
    assert (found == found.bfloat16()).all() == ("bf16" in units)


def test_it_is_the_muon_of_torch():
    """Matrices of several shapes, some of them alike, a few steps: rounding to bf16 apart."""
    shapes = [(6, 4), (4, 6), (6, 4), (5, 5)]
    one, two = ([nn.Parameter(well_conditioned(*shape).float()) for shape in shapes] for _ in range(2))
    theirs = torch.optim.Muon(one, lr=0.1, weight_decay=0.3, momentum=0.8, adjust_lr_fn="match_rms_adamw")
    ours = Muon(two, lr=0.1, weight_decay=0.3, momentum=0.8)
    for step in range(3):
        for number, both in enumerate(zip(one, two)):
            generator = torch.Generator().manual_seed(10 * step + number)
            gradient = torch.randn(shapes[number], generator=generator)
            for parameter in both:
                parameter.grad = gradient.clone()
        theirs.step()
        ours.step()
        for expected, found in zip(one, two):
            torch.testing.assert_close(found, expected, rtol=0, atol=(step + 1) * 0.1 * 0.2 * 6**0.5 * 8 * BF16)
            assert theirs.state[expected].keys() == ours.state[found].keys()
            torch.testing.assert_close(theirs.state[expected], ours.state[found])


@pytest.mark.parametrize("shared", [False, True], ids=["decay", "layer decay"])
def test_the_schedule_reaches_both(shared):
    model = create_model("resmlp_s12", img_size=32, num_classes=5, dim=12, depth=2)
    optimizer = make_optimizer(model, Optim("muon", weight_decay=0.3, layer_decay=0.5 if shared else 1.0))
    held = [id(p) for group in optimizer.param_groups for p in group["params"]]
    assert sorted(held) == sorted(id(p) for p in model.parameters())
    assert isinstance(optimizer, MuonAdamW)
    set_schedule(optimizer, 0.25, 0.125)
    scales = {0.125, 0.25, 0.5, 1.0} if shared else {1.0}
    for part in (optimizer.muon, optimizer.adamw):
        groups = [group for group in part.param_groups if group["params"]]
        assert {group["lr"] for group in groups} <= {0.25 * scale for scale in scales}
        assert {group["weight_decay"] for group in groups if group["decays"]} == {0.125}
        assert {group["weight_decay"] for group in groups if not group["decays"]} <= {0.0}
    assert len({group["lr"] for group in optimizer.param_groups if group["params"]}) == len(scales)


def test_state_goes_through_a_file_and_the_next_step_is_the_same(tmp_path):
    one, optim = network(10, 6), Optim("muon", lr=0.1, weight_decay=0.3)
    first = make_optimizer(one, optim)
    gradients(one, 0)
    first.step()
    torch.save(first.state_dict(), tmp_path / "optimizer.pt")
    two = deepcopy(one)
    second = make_optimizer(two, optim)
    second.load_state_dict(torch.load(tmp_path / "optimizer.pt", weights_only=True))
    set_schedule(second, 0.05, None)  # the groups of the parts are still those that a schedule writes
    set_schedule(first, 0.05, None)
    for model, optimizer in ((one, first), (two, second)):
        gradients(model, 1)
        optimizer.step()
    for mine, theirs in zip(one.parameters(), two.parameters()):
        assert torch.equal(mine, theirs)
    assert {id(p) for p in second.state} == {id(p) for p in two.parameters()}


def test_a_copy_steps_alone():
    model = network(10, 6)
    both = (model, make_optimizer(model, Optim("muon", lr=0.1)))
    gradients(model, 0)
    both[1].step()
    before = deepcopy(model.state_dict())
    other, optimizer = deepcopy(both)
    for net in (model, other):
        gradients(net, 1)
    optimizer.step()
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())
    both[1].step()
    for mine, theirs in zip(model.parameters(), other.parameters()):
        assert torch.equal(mine, theirs)


def test_no_step_without_gradients_and_closures_are_called_once():
    model = network(10, 6)
    before = deepcopy(model.state_dict())
    optimizer = make_optimizer(model, Optim("muon"))
    optimizer.step()
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())
    calls = []

    def closure() -> torch.Tensor:
        calls.append(optimizer.zero_grad())
        loss = model(torch.ones(2, 6)).square().sum()
        loss.backward()
        return loss

    assert optimizer.step(closure) > 0
    assert len(calls) == 1
    assert not torch.equal(model[0].weight, before["0.weight"])


@pytest.mark.parametrize("overflow", [False, True])
def test_a_gradient_scaler_unscales_for_both_and_skips_an_overflow(overflow):
    model, alone = network(10, 6), network(10, 6)
    optimizer, expected = (make_optimizer(net, Optim("muon", lr=0.1)) for net in (model, alone))
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    gradients(alone, 0)
    gradients(model, 0)
    scaler.scale(torch.zeros(1))
    for parameter in model.parameters():
        parameter.grad *= 1024.0
    if overflow:
        model[1].bias.grad[0] = torch.inf
    else:
        expected.step()
    scaler.step(optimizer)
    for mine, theirs in zip(model.parameters(), alone.parameters()):
        assert torch.equal(mine, theirs)


# which parameter goes where, by hand

SMALL = {"img_size": 32, "num_classes": 5, "dim": 12, "depth": 1}
CHANNELS = {"blocks.0.channels.fn.fc1.weight", "blocks.0.channels.fn.fc2.weight"}
TRUNK = {"blocks.0.tokens.fn.weight", *CHANNELS}
TRANSLATOR = {
    "encoder.0.tokens.fn.weight",
    "encoder.0.channels.fn.fc1.weight",
    "encoder.0.channels.fn.fc2.weight",
    "decoder.0.source.fn.q.weight",
    "decoder.0.source.fn.kv.weight",
    "decoder.0.source.fn.proj.weight",
    "decoder.0.channels.fn.fc1.weight",
    "decoder.0.channels.fn.fc2.weight",
}


def classifier(**changes) -> nn.Module:
    return create_model("resmlp_s12", **SMALL, **changes)


def translator() -> nn.Module:
    arch = replace(SEQ2SEQ["resmlp_mt_tiny"], dim=8, hidden=16, heads=2, encoder_depth=1, decoder_depth=1)
    return Seq2Seq(Seq2SeqConfig("resmlp_mt_tiny", arch, vocabulary=20))


def dino() -> nn.Module:
    return DinoNetwork(create_model("resmlp_s12", **(SMALL | {"num_classes": 0})), ProjectionHead(12, 8, 4, 16), None)


def segmenter() -> nn.Module:
    return build_segmenter(Model("resmlp_s12", dim=12, depth=1), (32, 32), 5, width=8, auxiliary=4)[0]


def on_timm(name: str) -> nn.Module:
    with torch.device("meta"):
        return Segmenter(SegmenterConfig((224, 224), 3, None, name, width=8, auxiliary=4))


def names(model: nn.Module) -> set[str]:
    by_id = {id(parameter): name for name, parameter in model.named_parameters()}
    return {by_id[id(parameter)] for parameter in hidden_matrices(model)}


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (classifier, TRUNK),
        (lambda: classifier(pos_embed=True), TRUNK),
        (lambda: classifier(mixer="none"), CHANNELS),
        (lambda: classifier(mixer="conv3x3"), CHANNELS),
        (lambda: classifier(mixer="dwconv"), CHANNELS),
        (lambda: classifier(mixer="globalfilter"), CHANNELS),
        (
            lambda: classifier(mixer="attention"),
            {"blocks.0.tokens.fn.qkv.weight", "blocks.0.tokens.fn.proj.weight", *CHANNELS},
        ),
        (
            lambda: classifier(pool="classmlp"),  # a gather of tokens is a vector
            {*TRUNK} | {f"blocks.1.channels.{i}.fn.fc{j}.weight" for i in (0, 1) for j in (1, 2)},
        ),
        (dino, {f"trunk.{name}" for name in TRUNK} | {f"head.mlp.{i}.weight" for i in (0, 3, 6)}),
        (segmenter, {f"backbone.trunk.{name}" for name in TRUNK}),
        (translator, TRANSLATOR),
    ],
)
def test_muon_has_these_matrices_and_adamw_the_rest(make, expected):
    model = make()
    assert names(model) == expected
    optimizer = make_optimizer(model, Optim("muon"))
    by_id = {id(parameter): name for name, parameter in model.named_parameters()}
    assert {by_id[id(p)] for group in optimizer.muon.param_groups for p in group["params"]} == expected
    rest = {by_id[id(p)] for group in optimizer.adamw.param_groups for p in group["params"]}
    assert rest == {*by_id.values()} - expected


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "swin_tiny_patch4_window7_224", "naflexvit_base_patch16_gap"])
def test_in_a_timm_backbone_all_linear_layers_but_the_patch_embedding(name):
    model = on_timm(name)
    linear = {f"{key}.weight" for key, module in model.named_modules() if isinstance(module, nn.Linear)}
    assert linear
    assert names(model) == {key for key in linear if "embeds.proj" not in key}


def test_a_frozen_matrix_and_one_shared_with_an_embedding_are_not_muons():
    model = nn.ModuleDict({"words": nn.Embedding(5, 3), "inner": nn.Linear(3, 3), "out": nn.Linear(3, 5)})
    model["out"].weight = model["words"].weight
    assert names(model) == {"inner.weight"}
    model["inner"].requires_grad_(False)
    with pytest.raises(UserError, match="--optim.name muon.*no hidden linear layer"):
        make_optimizer(model, Optim("muon"))


@pytest.mark.parametrize("name", ["resnet18", "convnext_atto"])
def test_a_network_of_convolutions_is_refused(name):
    with pytest.raises(UserError, match="--optim.name muon.*no hidden linear layer") as caught:
        make_optimizer(on_timm(name), Optim("muon"))
    assert "adamw" in caught.value.hint


def test_the_table_says_what_muon_updates():
    assert muon_summary(classifier()) == "Muon for 3 hidden weights, AdamW for 15 other tensors"
    optim = Optim("muon", lr=0.2, min_lr=0.02, warmup_epochs=2)
    assert optimizer_summary(optim, 10, 10) == "muon, effective lr 0.2, 2 warm-up epochs, cosine to 0.02"
