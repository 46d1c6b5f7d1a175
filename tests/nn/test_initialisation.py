"""Initial values against the authors' code and the paper (section 2: Aff is 1 and 0, LayerScale as in CaiT)."""

import pytest
import torch
from torch import nn

from resmlp.models import create_model
from resmlp.nn import Affine, LayerScale, LinearMixer
from resmlp.nn.init import convolution_matrix

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


# two other starts, for small networks


def test_fan_in_has_variance_one_over_the_number_of_inputs():
    torch.manual_seed(0)
    model = create_model("resmlp_s12_sepconv", depth=2, dim=256, img_size=64, init="fan-in")
    layers = [m for m in model.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    inputs = {layer: layer.weight.shape[1:].numel() for layer in layers}
    assert set(inputs.values()) == {3 * 16 * 16, 9, 256, 1024}
    for layer, fan_in in inputs.items():
        assert not layer.bias.any()
        assert float(layer.weight.detach().std()) == pytest.approx(fan_in**-0.5, rel=0.06)


@pytest.mark.parametrize("grid", [(3, 4), (1, 5), (4, 4)])
def test_convolution_matrix_by_loops(grid):
    kernel = torch.arange(1.0, 10).view(3, 3)
    expected = torch.zeros(grid[0] * grid[1], grid[0] * grid[1])
    for row in range(grid[0]):
        for column in range(grid[1]):
            for i in range(3):
                for j in range(3):
                    y, x = row + i - 1, column + j - 1
                    if 0 <= y < grid[0] and 0 <= x < grid[1]:
                        expected[row * grid[1] + column, y * grid[1] + x] = kernel[i, j]
    assert torch.equal(convolution_matrix(kernel, grid), expected)


def test_local_starts_each_mixer_as_another_convolution_in_noise():
    torch.manual_seed(0)
    rows, columns = 8, 12
    model = create_model("resmlp_s12", dim=64, depth=8, img_size=(rows * 16, columns * 16), init="local")
    mixers = [m for m in model.modules() if isinstance(m, LinearMixer)]
    assert len(mixers) == 8
    middles = []
    for mixer in mixers:
        assert not mixer.bias.any()
        weight = mixer.weight.detach().view(rows, columns, rows, columns)
        near = torch.zeros(rows, columns, rows, columns, dtype=torch.bool)
        for y in range(rows):
            for x in range(columns):
                near[y, x, max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2] = True
        assert float(weight[~near].std()) == pytest.approx(0.02, rel=0.05)
        inner = [weight[y, x, y - 1 : y + 2, x - 1 : x + 2] for y in range(1, rows - 1) for x in range(1, columns - 1)]
        kernel = torch.stack(inner).mean(dim=0)
        assert float((torch.stack(inner) - kernel).std()) == pytest.approx(0.02, rel=0.1)
        middles.append(kernel)
    kernels = torch.stack(middles)
    assert float(kernels.std()) == pytest.approx(1 / 3, rel=0.3)
    assert float((kernels[0] - kernels[1]).abs().max()) > 0.1
    hidden = model.blocks[0].channels.fn.fc1.weight.detach()
    assert float(hidden.std()) == pytest.approx(1 / 8, rel=0.05)
