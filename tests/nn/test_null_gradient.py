"""Which parameters have no influence, by finite differences, and that nothing else loses its gradient."""

from copy import deepcopy

import pytest
import torch
from torch import nn

from resmlp.models.segmentation_head import Decoder, PyramidNeck
from resmlp.nn import AttentionMixer, CausalAttention, CrossAttention, MaskedAttention
from resmlp.nn.dino_head import ProjectionHead
from resmlp.nn.null_gradient import null_gradient

D = 8
MASK = torch.ones(2, 5, dtype=torch.bool)


def crossed(layer: nn.Module, x: torch.Tensor) -> torch.Tensor:
    return layer(x, layer.read(x.flip(1)), MASK)


TOKENS = 2, 5, D
CASES = {
    "attention": (lambda: AttentionMixer(D, 2), lambda layer, x: layer(x), TOKENS, {"qkv.bias": slice(D, 2 * D)}),
    "encoder": (lambda: MaskedAttention(D, 2), lambda layer, x: layer(x, MASK), TOKENS, {"qkv.bias": slice(D, 2 * D)}),
    "decoder": (lambda: CausalAttention(D, 2), lambda layer, x: layer(x), TOKENS, {"qkv.bias": slice(D, 2 * D)}),
    "source": (lambda: CrossAttention(D, 2), crossed, TOKENS, {"kv.bias": slice(0, D)}),
    "pyramid": (
        lambda: nn.Sequential(PyramidNeck(D), Decoder([D] * 4, 4)),
        lambda layer, x: layer([x] * 4),
        (2, D, 6, 4),
        {f"0.levels.{name}.bias": slice(None) for name in ("0.0", "0.3", "1")},
    ),
    "dino": (
        lambda: ProjectionHead(D, 6, 4, 3, "batchnorm"),
        lambda layer, x: layer.mlp(x),
        (7, D),
        {"mlp.0.bias": slice(None), "mlp.3.bias": slice(None)},
    ),
    "dino without a norm": (lambda: ProjectionHead(D, 6, 4, 3), lambda layer, x: layer.mlp(x), (7, D), {}),
}


@pytest.mark.parametrize("case", CASES)
def test_a_parameter_without_influence_has_no_gradient(case):
    """Others have that of a copy, whose gradient is not changed."""
    build, call, shape, null = CASES[case]
    torch.manual_seed(0)
    layer = build().double().train()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    x, weight = torch.randn(shape, dtype=torch.float64), None
    copy = deepcopy(layer)
    for network in (layer, copy):
        out = call(network, x)
        weight = torch.randn_like(out) if weight is None else weight
        (out * weight).sum().backward()
    kept = dict(copy.named_parameters())
    for name, parameter in layer.named_parameters():
        expected = kept[name].grad
        if expected is None:
            assert parameter.grad is None
            continue
        if name in null:
            assert expected[null[name]].abs().max() < 1e-9, "it has no influence"
            expected = expected.clone()
            expected[null[name]] = 0
        assert torch.equal(parameter.grad, expected), name
    for name, rows in null.items():
        before = call(layer, x)
        with torch.no_grad():
            dict(layer.named_parameters())[name][rows] += 1
        torch.testing.assert_close(call(layer, x), before)


def test_no_parameter():
    null_gradient(None)


@pytest.mark.slow
def test_compiled():
    layer = nn.Linear(3, 4)
    null_gradient(layer.bias, slice(0, 2))
    torch.compile(layer, backend="aot_eager")(torch.ones(2, 3)).sum().backward()
    assert layer.bias.grad.tolist() == [0, 0, 2, 2]
