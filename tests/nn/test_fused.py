"""The fused training step against autograd's way through the same parts."""

import copy
from functools import partial

import pytest
import torch
from numeric import SLACK, gamma
from torch import Tensor, nn
from torch.nn.utils import parametrize, prune

from resmlp.models import create_model
from resmlp.nn import Affine, LayerScale, LinearMixer, Mlp, Residual, fused

pytestmark = pytest.mark.isa

B, N, D = 5, 7, 6
FNS = {"tokens": lambda: LinearMixer(N, N), "channels": lambda: Mlp(D, 4 * D)}


def sublayer(kind: str, drop_path: float = 0.0, dtype: torch.dtype = torch.float64) -> Residual:
    """No parameter is 0 or 1, as many are at the start."""
    layer = Residual(Affine(D), FNS[kind](), LayerScale(D), drop_path).train().to(dtype)
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=0.5)
    return layer


def plain(layer: Residual, x: Tensor) -> Tensor:
    """The definition."""
    return x + layer.drop_path(layer.scale(layer.fn(layer.norm(x))))


def is_fused(y: Tensor) -> bool:
    """By what autograd would call."""
    return type(y.grad_fn).__name__ in ("_TokensBackward", "_ChannelsBackward")


def learnt(forward, layer: Residual, x: Tensor, least: float = -1) -> dict[str, Tensor]:
    """Output and gradients of a loss in which no token is like another."""
    torch.manual_seed(1)
    x = x.detach().clone().requires_grad_()
    layer.zero_grad()
    y = forward(x)
    (y * torch.linspace(least, 1, y.numel(), dtype=y.dtype).view_as(y)).sum().backward()
    return {"y": y, "x": x.grad} | {name: p.grad.clone() for name, p in layer.named_parameters()}


def assert_alike(found: dict[str, Tensor], expected: dict[str, Tensor], relative: float) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name].dtype == value.dtype, name
        assert (found[name] - value).norm() <= relative * value.norm(), name


@pytest.mark.parametrize("drop_path", [0.0, 0.5])
@pytest.mark.parametrize("kind", FNS)
def test_output_and_gradients_are_those_of_the_plain_form(kind, drop_path):
    torch.manual_seed(0)
    layer, x = sublayer(kind, drop_path), torch.randn(B, N, D, dtype=torch.float64)
    found = learnt(layer, layer, x)
    assert is_fused(found["y"])
    assert not is_fused(plain(layer, x.requires_grad_()))
    assert_alike(found, learnt(lambda x: plain(layer, x), layer, x), 1e-12)
    if drop_path:
        kept = (found["y"] != x).any(dim=(1, 2))
        assert 0 < kept.sum() < B


@pytest.mark.parametrize("onednn", sorted({False, fused._HAS_ONEDNN}))
@pytest.mark.parametrize("drop_path", [0.0, 0.5])
@pytest.mark.parametrize("kind", FNS)
def test_float32_errors_are_within_the_rounding_bound(kind, drop_path, onednn, monkeypatch):
    """Each value is a sum of products. The same sums of absolute values bound its error."""
    monkeypatch.setattr(fused, "_PREFERS_ONEDNN", onednn)
    torch.manual_seed(0)
    layer, x = sublayer(kind, drop_path, torch.float32), torch.randn(B, N, D)
    exact, sizes = copy.deepcopy(layer).double(), copy.deepcopy(layer).double()
    for parameter in sizes.parameters():
        parameter.data.abs_()
    outputs = learnt(layer, layer, x)
    assert is_fused(outputs["y"])
    reference = learnt(lambda x: plain(exact, x), exact, x.double())
    size = learnt(lambda x: plain(sizes, x), sizes, x.double().abs(), least=1)
    longest = B * N + N + 5 * D + 20  # additions in a gradient over all tokens, in the products before it, and others
    for name, value in reference.items():
        assert ((outputs[name] - value).abs() <= SLACK * gamma(longest) * size[name]).all(), name


@pytest.mark.parametrize("keep", [None, torch.tensor([0.0, 2.0]).double().view(2, 1, 1)], ids=["all", "dropped"])
@pytest.mark.parametrize("kind", FNS)
def test_gradients_and_gradients_of_them_are_those_of_finite_differences(kind, keep):
    torch.manual_seed(0)
    layer, x = sublayer(kind), torch.randn(2, N, D, dtype=torch.float64, requires_grad=True)
    parameters = fused._parameters(layer.norm, layer.fn, layer.scale)
    inputs = (x, keep, torch.float64, *parameters)
    apply = fused.STEPS[type(layer.fn)].apply
    assert torch.autograd.gradcheck(apply, inputs)
    assert torch.autograd.gradgradcheck(apply, inputs, fast_mode=True)


@pytest.mark.parametrize("strange", ["transposed input", "expanded gradient", "all images but one dropped"])
@pytest.mark.parametrize("kind", FNS)
def test_strides_and_rare_draws(kind, strange):
    torch.manual_seed(0)
    layer, x = sublayer(kind, 0.9 if "dropped" in strange else 0.0), torch.randn(B, N, D).double()
    if strange == "transposed input":
        x = torch.randn(B, D, N).double().transpose(1, 2)
    reduce = torch.sum if strange == "expanded gradient" else torch.square
    runs = {}
    for name, forward in {"fused": layer, "plain": lambda x: plain(layer, x)}.items():
        torch.manual_seed(3)
        x = x.detach().requires_grad_()
        layer.zero_grad()
        reduce(forward(x)).sum().backward()
        runs[name] = {"x": x.grad} | {key: p.grad for key, p in layer.named_parameters()}
    assert_alike(runs["fused"], runs["plain"], 1e-12)


@pytest.mark.parametrize("first", [torch.float32, torch.bfloat16], ids=["stream", "first block"])
@pytest.mark.parametrize("drop_path", [0.0, 0.5])
@pytest.mark.parametrize("kind", FNS)
def test_under_autocast_dtypes_are_the_plain_form_s_and_numbers_no_further_from_the_truth(kind, drop_path, first):
    torch.manual_seed(0)
    layer, x = sublayer(kind, drop_path, torch.float32), torch.randn(B, N, D).to(first)

    def cast(forward):
        def run(x: Tensor) -> Tensor:
            with torch.autocast("cpu", torch.bfloat16):
                return forward(x)

        return run

    found, expected = learnt(cast(layer), layer, x), learnt(cast(lambda x: plain(layer, x)), layer, x)
    assert is_fused(found["y"])
    assert_alike(found, expected, 0.1)
    exact = copy.deepcopy(layer).double()
    truth = learnt(lambda x: plain(exact, x), exact, x.double())
    for name, value in truth.items():
        errors = [(some[name] - value).norm() / value.norm() for some in (found, expected)]
        assert errors[0] <= max(2 * errors[1], 0.01), name


@pytest.mark.parametrize("kind", FNS)
def test_a_backward_pass_inside_autocast_gives_the_same(kind):
    torch.manual_seed(0)
    layer, x, gradients = sublayer(kind, dtype=torch.float32), torch.randn(B, N, D), []
    for inside in (True, False):
        x = x.detach().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16):
            y = layer(x)
        with torch.autocast("cpu", torch.bfloat16, enabled=inside):
            gradients.append(torch.autograd.grad(y, [x, *layer.parameters()], torch.ones_like(y)))
    assert all(map(torch.equal, *gradients))


@pytest.mark.parametrize("kind", FNS)
def test_whole_model_in_bf16(kind):
    torch.manual_seed(0)
    layer, x = sublayer(kind, 0.5, torch.bfloat16), torch.randn(B, N, D).bfloat16()
    assert_alike(learnt(layer, layer, x), learnt(lambda x: plain(layer, x), layer, x), 0.05)


def saved_numbers(run) -> int:
    """Of distinct storages that autograd keeps, parameters left out."""
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        if not isinstance(tensor, nn.Parameter):
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes() // tensor.element_size()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        y = run()
    assert y.requires_grad
    return sum(kept.values())


def test_a_block_keeps_six_numbers_for_each_of_its_input():
    block = nn.Sequential(sublayer("tokens"), sublayer("channels"))
    x = torch.randn(64, N, D, dtype=torch.float64, requires_grad=True)
    assert saved_numbers(lambda: block(x)) == 6 * x.numel()
    beside = saved_numbers(lambda: plain(block[1], plain(block[0], x)))
    assert beside > 13 * x.numel()


CHANGES = {
    "evaluation": lambda layer: layer.eval(),
    "frozen": lambda layer: layer.fn.requires_grad_(False),
    "another norm": lambda layer: setattr(layer, "norm", nn.LayerNorm(D)),
    "another scale": lambda layer: setattr(layer, "scale", Affine(D)),
    "an MLP over tokens": lambda layer: setattr(layer, "fn", nn.Identity()),
    "a hook on the mixer": lambda layer: layer.fn.register_forward_hook(lambda *_: None),
    "a hook before the norm": lambda layer: layer.norm.register_forward_pre_hook(lambda *_: None),
    "a backward hook": lambda layer: layer.scale.register_full_backward_hook(lambda *_: None),
    "a forward of its own": lambda layer: setattr(layer.norm, "forward", partial(type(layer.norm).forward, layer.norm)),
    "pruned": lambda layer: prune.random_unstructured(layer.norm, "alpha", 0.5),
    "parametrized": lambda layer: parametrize.register_parametrization(layer.norm, "alpha", nn.Tanh()),
    "fp16": lambda layer: layer.half(),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("kind", FNS)
def test_what_is_not_the_paper_s_or_looked_into_is_left_alone(kind, change):
    layer = sublayer(kind, dtype=torch.float32)
    x = torch.randn(B, N, D, requires_grad=True)
    assert is_fused(layer(x))
    CHANGES[change](layer)
    x = x.detach().to(next(layer.parameters()).dtype).requires_grad_()
    assert not is_fused(layer(x))


def test_hooks_inside_the_mlp_and_of_all_modules_are_called():
    layer, x, seen = sublayer("channels"), torch.randn(B, N, D).double().requires_grad_(), []
    handle = layer.fn.act.register_forward_hook(lambda *_: seen.append("act"))
    layer(x)
    handle.remove()
    assert is_fused(layer(x))
    handle = nn.modules.module.register_module_forward_hook(lambda module, *_: seen.append(type(module)))
    layer(x)
    handle.remove()
    assert seen[0] == "act"
    assert nn.GELU in seen


@pytest.mark.parametrize("activation", [nn.ReLU, lambda: nn.GELU(approximate="tanh")])
def test_other_activations_are_left_alone(activation):
    layer = Residual(Affine(D), Mlp(D, D, activation), LayerScale(D)).train()
    assert not is_fused(layer(torch.randn(B, N, D, requires_grad=True)))


def test_without_gradients_tokens_or_images_nothing_changes():
    layer = sublayer("channels", dtype=torch.float32)
    with torch.no_grad():
        assert not layer(torch.randn(B, N, D, requires_grad=True)).requires_grad
    assert not is_fused(layer(torch.randn(B, N, D)))
    assert layer(torch.randn(0, N, D, requires_grad=True)).shape == (0, N, D)
    assert layer(torch.randn(B, D, requires_grad=True)).shape == (B, D)


@pytest.mark.parametrize("kind", FNS)
def test_a_second_backward_pass_gives_the_same(kind):
    torch.manual_seed(0)
    layer, x = sublayer(kind, 0.5), torch.randn(B, N, D).double().requires_grad_()
    inputs, y = [x, *layer.parameters()], layer(x)
    first, second = (torch.autograd.grad(y.square().sum(), inputs, retain_graph=True) for _ in range(2))
    assert all(map(torch.equal, first, second))


def test_a_network_without_numbers_trains_too():
    with torch.device("meta"):
        layer = Residual(Affine(D), LinearMixer(N, N), LayerScale(D)).train()
        layer(torch.randn(B, N, D, requires_grad=True)).sum().backward()
    assert layer.fn.weight.grad.shape == (N, N)


SMALL = {"dim": 8, "depth": 2, "img_size": 32, "num_classes": 4, "layer_scale": 0.5}


def gradients(model: nn.Module, parameters: nn.Module, images: Tensor) -> dict[str, Tensor]:
    torch.manual_seed(5)
    parameters.zero_grad()
    model(images).square().sum().backward()
    return {name: parameter.grad.clone() for name, parameter in parameters.named_parameters()}


@pytest.fixture
def network():
    torch.manual_seed(0)
    return create_model("resmlp_s12", drop_path=0.3, **SMALL).double().train()


def test_a_network_learns_as_with_the_plain_form(network, monkeypatch):
    images = torch.randn(6, 3, 32, 32).double()
    found = gradients(network, network, images)
    monkeypatch.setattr(fused, "applies", lambda *_: False)
    assert_alike(found, gradients(network, network, images), 1e-11)


def test_checkpointed_blocks_give_the_same_gradients(network):
    images = torch.randn(6, 3, 32, 32).double()
    found = gradients(network, network, images)
    network.checkpoint_activations = True
    assert_alike(gradients(network, network, images), found, 0)


def test_a_compiled_network_has_the_plain_form_in_one_graph(network):
    network.requires_grad_(True)
    for part in network.modules():
        if hasattr(part, "p"):
            part.p = 0.0  # the compiler draws by itself
    images = torch.randn(6, 3, 32, 32).double()
    torch._dynamo.reset()
    compiled = torch.compile(network, backend="aot_eager", fullgraph=True)
    assert_alike(gradients(compiled, network, images), gradients(network, network, images), 1e-11)


def test_traced_scripted_and_exported_in_training_there_is_the_plain_form(network):
    images = torch.randn(6, 3, 32, 32).double()
    graph = torch.fx.symbolic_trace(network)
    assert not any("fused" in str(node.target) for node in graph.graph.nodes)
    assert "Python" not in str(torch.jit.script(network.blocks[0]).inlined_graph)
    exported = torch.export.export(network, (images,))
    assert "gelu" in str(exported.graph)


def test_functional_transforms_see_the_plain_form(network):
    x = torch.randn(3, 3, 32, 32).double()
    parameters = {name: value.detach() for name, value in network.eval().named_parameters()}
    expected = gradients(network.eval(), network, x)
    for part in network.modules():
        if hasattr(part, "p"):
            part.p = 0.0
    network.train()

    def loss(values: dict[str, Tensor]) -> Tensor:
        return torch.func.functional_call(network, values, (x,)).square().sum()

    assert_alike(torch.func.grad(loss)(parameters), expected, 1e-11)
