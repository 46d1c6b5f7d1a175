"""The bound on rounding: every processor stays below it, and a wrong result exceeds it."""

import copy
from dataclasses import replace

import pytest
import torch
from numeric import RecordRounding, assert_rounded, gamma
from torch import nn

from resmlp.config.vision import Architecture
from resmlp.models import Trunk, TrunkConfig

pytestmark = pytest.mark.isa
BASE = Architecture(patch_size=2, dim=6, depth=2, heads=2, token_hidden=5)
NETWORKS = [
    {},
    {"norm": "layernorm", "mixer": "attention", "pool": "classtoken"},
    {"norm": "batchnorm", "mixer": "dwconv", "activation": "silu"},
    {"mixer": "mlp", "pool": "classmlp", "residual": "post"},
]


@pytest.fixture(params=NETWORKS, ids=str)
def network(request):
    """A small network of which every parameter is random, as in the tests of folding and of exports."""
    model = Trunk(TrunkConfig("it", replace(BASE, **request.param), (6, 8), 3)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return model


@torch.no_grad()
def test_a_sum_in_any_order_is_accepted():
    layer, x = nn.Linear(300, 7), torch.randn(5, 300)
    orders = (torch.arange(300), torch.randperm(300), (layer.weight.detach().mean(0)).argsort())
    for order in orders:
        output = layer.bias.expand(5, 7)
        for i in order:  # one product after the other
            output = output + x[:, i, None] * layer.weight[:, i]
        assert_rounded(output, layer, x)
    assert_rounded(layer(x), layer, x)


@torch.no_grad()
def test_a_relative_error_of_a_thousandth_in_one_weight_is_refused():
    for width in (6, 24, 40):
        layer, x = nn.Linear(width, width), torch.randn(5, width)
        wrong, i = copy.deepcopy(layer), layer.weight[1].abs().argmax()
        wrong.weight[1, i] *= 1.001
        x[0, i] = 1
        with pytest.raises(AssertionError, match="above the float32 bound"):
            assert_rounded(wrong(x), layer, x)


@torch.no_grad()
def test_a_network_is_accepted_and_bfloat16_or_other_weights_are_refused(network):
    images = torch.randn(3, 3, 6, 8)
    assert_rounded(network(images), network, images)
    short, wrong = copy.deepcopy(network).bfloat16(), copy.deepcopy(network)
    for parameter in wrong.parameters():
        parameter.mul_(1 + 1e-3 * torch.randn_like(parameter))
    for output in (short(images.bfloat16()).float(), wrong(images), torch.full((3, 3), torch.nan)):
        with pytest.raises(AssertionError, match="above the float32 bound"):
            assert_rounded(output, network, images)


def test_a_sum_that_cancels_is_refused():
    """Float32 leaves its value open."""
    x = torch.tensor([[1e8, 1.0, -1e8]])
    with pytest.raises(AssertionError, match="too large for outputs to 1.0e"):
        assert_rounded(torch.ones(1, 1), lambda x: x @ torch.ones(3, 1).double(), x)


def test_an_unknown_operation_is_named():
    with pytest.raises(KeyError, match="tanh"), RecordRounding():
        torch.ones(2).double().tanh()


def test_gamma():
    assert gamma(1) == pytest.approx(2.0**-24)
    assert 1000 * 2.0**-24 < gamma(1000) < 1.001 * 1000 * 2.0**-24
