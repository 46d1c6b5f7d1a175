"""Lowered networks against the networks before folding."""

from dataclasses import replace

import pytest
import torch

from resmlp.config.vision import Architecture
from resmlp.exporters.lowering import Patches, RowMlp, lower
from resmlp.models import Trunk, TrunkConfig
from resmlp.models.folding import fold
from resmlp.nn import LinearMixer, Mlp, PatchEmbed
from resmlp.nn.lowered_layers import TokenMlp, TokenProduct

pytestmark = pytest.mark.isa

BASE = Architecture(patch_size=2, dim=6, depth=2, heads=2, token_hidden=5)


@pytest.mark.parametrize("pool", ["mean", "classmlp"])
@pytest.mark.parametrize("norm", ["affine", "layernorm"])
@pytest.mark.parametrize("mixer", ["linear", "mlp", "conv3x3", "attention", "none"])
@torch.no_grad()
def test_outputs_are_the_same(mixer, norm, pool):
    model = Trunk(TrunkConfig("it", replace(BASE, mixer=mixer, norm=norm, pool=pool), (6, 8), 3)).double().eval()
    for parameter in model.parameters():
        parameter.add_(torch.randn_like(parameter) * 0.4)
    for count in (1, 3):
        images = torch.randn(count, 3, 6, 8, dtype=torch.float64)
        torch.testing.assert_close(lower(fold(model))(images), model(images), rtol=1e-10, atol=1e-10)


@torch.no_grad()
def test_all_parts_are_replaced():
    model = Trunk(TrunkConfig("it", replace(BASE, mixer="mlp"), (6, 8), 3))
    kinds = [type(part) for part in lower(fold(model)).modules()]
    assert PatchEmbed not in kinds
    assert kinds.count(Patches) == 1
    assert kinds.count(TokenMlp) == kinds.count(RowMlp) == kinds.count(Mlp) == BASE.depth


@torch.no_grad()
def test_a_product_with_a_bias():
    mixer = LinearMixer(4, 4).double()
    x = torch.randn(2, 4, 3, dtype=torch.float64)
    torch.testing.assert_close(TokenProduct(mixer)(x), mixer(x))


def test_the_original_network_is_not_changed():
    model = Trunk(TrunkConfig("it", BASE, (6, 8), 3))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    lower(fold(model))
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
