"""The interface of timm, against `resmlp.create_model` and against layers run by hand."""

import copy

import pytest
import timm
import torch
from timm.models import FeatureGraphNet
from timm.models._manipulate import group_parameters
from timm.optim import create_optimizer_v2, param_groups_layer_decay
from torch.fx import symbolic_trace

from resmlp.config.vision import ARCHITECTURES
from resmlp.nn import ClassMlp
from resmlp.training.optimizers import parameter_groups, roles
from resmlp.utils.errors import UserError


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_keys_and_logits_equal_those_of_create_model(name, make, make_ours, shake, images):
    ours, timm_model = shake(make_ours(name)), make(name).eval()
    timm_model.load_state_dict(ours.state_dict(), strict=True)
    x = images()
    torch.testing.assert_close(timm_model(x), ours(x), rtol=0, atol=0)
    timm_model.train()(x).square().sum().backward()
    assert all(p.grad is not None for p in timm_model.parameters())


def test_the_initialization_equals_that_of_create_model(make, make_ours, name):
    torch.manual_seed(4)
    ours = make_ours(name).state_dict()
    torch.manual_seed(4)
    timm_model = make(name).state_dict()
    assert all(torch.equal(timm_model[key], tensor) for key, tensor in ours.items())


def test_changes_by_names_of_timm_and_resmlp(make):
    model = make("resmlp_s12", mixer="dwconv", num_blocks=2, embed_dim=16, mlp_ratio=3, in_chans=1, drop_path_rate=0.3)
    arch = model.config.architecture
    assert (arch.mixer, arch.depth, arch.dim, arch.mlp_ratio, model.config.drop_path) == ("dwconv", 2, 16, 3, 0.3)
    assert (model.in_chans, model.num_features, model.head_hidden_size) == (1, 16, 16)
    assert model(torch.randn(2, 1, 8, 12)).shape == (2, 5)


def by_hand(model, x):
    """The grid after each layer, B D h w, and the tokens after the last norm."""
    x, grids = model.embed(x), []
    for block in model.blocks:
        x = block(x)
        if not isinstance(block, ClassMlp):
            patches = x[:, 1:] if model.config.architecture.pool == "classtoken" else x
            grids.append(torch.stack([patches[:, 3 * row : 3 * row + 3] for row in range(2)], dim=1).movedim(-1, 1))
    return model.norm(x), grids


@pytest.mark.isa
def test_intermediates_equal_the_layers_run_by_hand(make, shake, images, name):
    model, x = shake(make(name)).double(), images().double()
    tokens, grids = by_hand(model, x)
    final, found = model.forward_intermediates(x)
    torch.testing.assert_close(final, tokens)
    torch.testing.assert_close(final, model.forward_features(x))
    torch.testing.assert_close(found, grids)
    torch.testing.assert_close(model.forward_intermediates(x, 2, intermediates_only=True), grids[1:])
    torch.testing.assert_close(model.forward_intermediates(x, [0, -1], intermediates_only=True), [grids[0], grids[2]])
    flat = model.forward_intermediates(x, [1], output_fmt="NLC", intermediates_only=True)
    torch.testing.assert_close(flat, [grids[1].flatten(2).transpose(1, 2)])
    normed = model.forward_intermediates(x, [1], norm=True, output_fmt="NLC", intermediates_only=True)
    torch.testing.assert_close(normed, [model.norm(flat[0])])


def test_stop_early_runs_no_later_layer(make, images, name):
    model, runs = make(name).eval(), []
    for i, block in enumerate(model.blocks):
        block.register_forward_hook(lambda *_, i=i: runs.append(i))
    model.forward_intermediates(images(), [0, 1], stop_early=True)
    assert runs == [0, 1]
    with pytest.raises(AssertionError, match="output_fmt"):
        model.forward_intermediates(images(), output_fmt="NHWC")


@pytest.mark.isa
def test_features_only(make, shake, images, name):
    whole, x = shake(make(name)).double(), images().double()
    features = make(name, features_only=True, out_indices=(0, 1)).double().eval()
    features.model.load_state_dict(whole.state_dict(), strict=False)
    torch.testing.assert_close(features(x), by_hand(whole, x)[1][:2])
    assert features.feature_info.channels() == [12, 12]
    assert features.feature_info.reduction() == [4, 4]
    names = [n for n, _ in features.named_parameters()]
    assert not any(n.startswith(("model.blocks.2", "model.norm", "model.head")) for n in names), "pruned"
    scripted = torch.jit.script(features)
    torch.testing.assert_close(scripted(x), features(x))


@pytest.mark.isa
def test_pruning_keeps_the_logits_or_leaves_the_tokens(make, shake, images, name):
    model, x = shake(make(name)).double(), images().double()
    kept = copy.deepcopy(model)
    assert kept.prune_intermediate_layers([2], prune_head=False) == [2]
    torch.testing.assert_close(kept(x), model(x))
    cut = copy.deepcopy(model)
    assert cut.prune_intermediate_layers([0, 1]) == [0, 1]
    assert (len(cut.blocks), cut.num_classes, cut.global_pool) == (2, 0, "")
    assert cut(x).shape == cut.forward_features(x).shape
    cut.reset_classifier(4, "avg")
    assert cut(x).shape == (2, 4)
    if name == "resmlp_s12_classmlp":
        with pytest.raises(UserError, match="token"):
            cut.reset_classifier(4, "token")


@pytest.mark.isa
def test_the_classifier_and_the_pooling(make, shake, images, name):
    model, x = shake(make(name)).double(), images().double()
    tokens, _ = by_hand(model, x)
    own = tokens.mean(1) if model.global_pool == "avg" else tokens[:, 0]
    torch.testing.assert_close(model.forward_head(tokens, pre_logits=True), own)
    model.reset_classifier(7)
    assert model.get_classifier() is model.head
    torch.testing.assert_close(model(x), own @ model.head.weight.T + model.head.bias)
    model.reset_classifier(0)
    torch.testing.assert_close(model(x), own)
    model.reset_classifier(0, "avg")
    torch.testing.assert_close(model(x), tokens[:, -6:].mean(1))
    assert torch.equal(make(name, num_classes=0, global_pool="")(images()).squeeze(-1)[:, 0, 0] * 0, torch.zeros(2))
    model.to(torch.float64).reset_classifier(3)
    assert model.head.weight.dtype == torch.float64
    assert model.num_classes == model.config.num_classes == 3
    with pytest.raises(UserError, match="max"):
        model.reset_classifier(3, "max")


def test_dropout_before_the_head(make, images):
    model = make("resmlp_s12", drop_rate=0.5, num_classes=0).train()
    x = images(64)
    kept = model(x) != 0
    assert 0.4 < kept.float().mean() < 0.6
    assert (model.eval()(x) != 0).all()


def test_device_and_dtype_of_the_factory(make, name):
    model = make(name, device="meta", dtype=torch.bfloat16)
    assert {(t.device.type, t.dtype) for t in model.state_dict().values()} == {("meta", torch.bfloat16)}


def test_checkpointing_recomputes_each_layer(make, images):
    model, calls = make("resmlp_s12").train(), []
    model.blocks[0].register_forward_pre_hook(lambda *_: calls.append(1))
    model.set_grad_checkpointing()
    model(images()).sum().backward()
    assert len(calls) == 2


def test_weight_decay_is_by_role(make, name):
    model = make(name)
    optimizer = create_optimizer_v2(model, "adamw", lr=0.1, weight_decay=0.2)
    decay = {p: group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert decay == {p: group["weight_decay"] for group in parameter_groups(model, 0.2) for p in group["params"]}
    undecayed = {p for n, p in model.named_parameters() if n in model.no_weight_decay()}
    assert undecayed == {p for p, role in roles(model) if role != "weight"}
    embeddings = {n for n in model.no_weight_decay() if n.endswith(("token", "embedding"))}
    assert len(embeddings) == {"deit_s": 2, "resmlp_s12_classmlp": 1}.get(name, 0)


def test_layer_decay_covers_every_parameter_once(make, name):
    model = make(name)
    group = group_parameters(model, model.group_matcher(), reverse=True)
    assert sorted(group) == sorted(n for n, _ in model.named_parameters())
    layers = len(model.blocks)
    assert set(group.values()) == set(range(layers + 2))
    for parameter, layer in group.items():
        first, number, *_ = parameter.split(".")
        expected = {"embed": 0, "norm": layers, "head": layers + 1}
        assert layer == (int(number) + 1 if first == "blocks" else expected[first]), parameter
    found = [p for g in param_groups_layer_decay(model, layer_decay=0.5) for p in g["params"]]
    assert len(found) == len(set(found)) == len(list(model.parameters()))


@pytest.mark.isa
def test_graphs_scripts_and_exports_give_the_same_logits(make, shake, images, name):
    model, x = shake(make(name, drop_path_rate=0.2)).double(), images().double()
    expected = model(x)
    torch.testing.assert_close(symbolic_trace(model)(x), expected)
    torch.testing.assert_close(torch.jit.script(model)(x), expected)
    torch.testing.assert_close(torch.export.export(model, (x,)).module()(x), expected)


def test_a_graph_of_a_training_network_drops_paths(make, images):
    model = make("resmlp_s12", drop_path_rate=0.9).train()
    graph = symbolic_trace(model)
    assert not torch.equal(graph(images()), graph(images())), "new paths at each call"


@pytest.mark.isa
def test_fx_features_are_the_tokens_of_the_layers(make, shake, images):
    model, x = shake(make("resmlp_s12")).double(), images().double()
    grids = by_hand(model, x)[1]
    found = FeatureGraphNet(model, (0, 2))(x)
    torch.testing.assert_close(found, [grids[i].flatten(2).transpose(1, 2) for i in (0, 2)])


def test_an_image_of_another_size_is_refused(make, name):
    with pytest.raises(UserError, match="8x12"):
        make(name)(torch.randn(1, 3, 12, 12))
    with pytest.raises(UserError, match="multiple of 4"):
        make(name, img_size=9)


def test_timm_rebuilds_it_from_its_arguments(make, name):
    from timm.models._input import get_model_args

    model = make(name, in_chans=1)
    model.reset_classifier(3, "avg")
    again = timm.create_model(name, **get_model_args(model))
    again.load_state_dict(model.state_dict())
    assert (again.global_pool, again.in_chans, again.num_classes) == ("avg", 1, 3)
