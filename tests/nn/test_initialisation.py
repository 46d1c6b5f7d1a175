"""Initial values against the authors' code and the paper (section 2: Aff is 1 and 0, LayerScale as in CaiT)."""

import pytest
import torch
from torch import nn

from resmlp.models import create_model
from resmlp.nn import Affine, LayerScale

LAYER_SCALE = {
    "resmlp_s12": 0.1,
    "resmlp_s12_p8": 0.1,
    "resmlp_s24": 1e-5,
    "resmlp_s36": 1e-6,
    "resmlp_b24": 1e-6,
    "resmlp_b24_p8": 1e-6,
}


@pytest.mark.parametrize("name", LAYER_SCALE)
def test_layer_scale_by_depth(name):
    model = create_model(name, dim=8, img_size=32)
    gammas = [m.gamma for m in model.modules() if isinstance(m, LayerScale)]
    assert len(gammas) == 2 * len(model.blocks)
    for gamma in gammas:
        torch.testing.assert_close(gamma.detach(), torch.full((8,), LAYER_SCALE[name]), rtol=0, atol=0)


@pytest.mark.parametrize(("depth", "expected"), [(1, 0.1), (18, 0.1), (19, 1e-5), (24, 1e-5), (25, 1e-6), (48, 1e-6)])
def test_layer_scale_rule_of_cait(depth, expected):
    model = create_model("resmlp_s12", dim=4, img_size=16, depth=depth)
    assert torch.equal(model.blocks[-1].channels.scale.gamma.detach(), torch.full((4,), expected))


def test_layer_scale_can_be_given_and_affine_scale_starts_alike():
    model = create_model("resmlp_s12", dim=8, depth=2, img_size=32, layer_scale=0.25, scale="affine")
    for block in model.blocks:
        for sublayer in block:
            assert torch.equal(sublayer.scale.alpha.detach(), torch.full((8,), 0.25))
            assert torch.equal(sublayer.scale.beta.detach(), torch.zeros(8))


@pytest.mark.parametrize("name", ["resmlp_s12", "resmlp_s12_classmlp", "resmlp_s12_mlp", "mixer_s16", "deit_s"])
def test_linear_layers_are_normal_of_std_0_02_with_zero_bias(name):
    torch.manual_seed(0)
    model = create_model(name, depth=2)
    linears = [m for m in model.modules() if isinstance(m, nn.Linear)]
    assert model.head in linears
    for layer in linears:
        weight = layer.weight.detach()
        assert torch.equal(layer.bias.detach(), torch.zeros_like(layer.bias))
        if weight.numel() > 10_000:
            assert float(weight.std()) == pytest.approx(0.02, rel=0.02)
            assert abs(float(weight.mean())) < 0.001
            inside = (weight.abs() < 0.02).double().mean()
            assert float(inside) == pytest.approx(0.6827, abs=0.01), "68 % of a normal law lies within one sigma"
        assert float(weight.abs().max()) < 2


def test_affine_starts_as_the_identity():
    model = create_model("resmlp_s12", depth=2)
    affines = [m for m in model.modules() if isinstance(m, Affine)]
    assert len(affines) == 2 * 2 + 1
    for part in affines:
        assert torch.equal(part.alpha.detach(), torch.ones(384))
        assert torch.equal(part.beta.detach(), torch.zeros(384))
    x = torch.randn(2, 3, 384)
    assert torch.equal(affines[0](x), x)


def test_a_new_head_starts_the_same_way():
    torch.manual_seed(0)
    model = create_model("resmlp_s12", depth=1, num_classes=10)
    model.reset_classifier(100)
    assert float(model.head.weight.detach().std()) == pytest.approx(0.02, rel=0.03)
    assert not model.head.bias.any()
