"""GFNet's global filter (Rao et al. 2021), one class: folded, lowered, resized, counted, decayed, exported."""

import itertools

import pytest
import torch

import resmlp
from resmlp import create_model
from resmlp.config.preprocessing import Preprocessing
from resmlp.exporters.lowering import lower
from resmlp.models import Trunk, TrunkConfig, Weights, count_macs, count_parameters, load_into, save_model
from resmlp.models.any_size import ResizedTrunk
from resmlp.models.backbones import TrunkFeatures
from resmlp.models.folding import fold
from resmlp.models.resize import resize_to
from resmlp.nn import Affine, LayerScale, TokenMixer
from resmlp.nn.mixers import GlobalFilterMixer
from resmlp.training.optimizers import roles

SMALL = {"dim": 6, "depth": 2, "patch_size": 2, "num_classes": 3, "layer_scale": 0.5}


def network(size=(6, 10), **changes) -> Trunk:
    """Every number of it random; a grid of 3 x 5 by default."""
    model = create_model("resmlp_s12_globalfilter", img_size=size, **SMALL | changes).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.4)
    return model


def test_it_is_a_circular_convolution():
    """Against a loop over all pairs of tokens, on grids of even and odd width."""
    for height, width in ((3, 4), (4, 5)):
        mixer = GlobalFilterMixer((height, width), 2).double()
        kernel = torch.fft.irfft2(torch.view_as_complex(mixer.filter), (height, width), dim=(0, 1))
        x = torch.randn(1, height * width, 2, dtype=torch.float64)
        image, expected = x.view(height, width, 2), torch.zeros(height, width, 2, dtype=torch.float64)
        for i, j, a, b in itertools.product(range(height), range(width), range(height), range(width)):
            expected[i, j] += kernel[(i - a) % height, (j - b) % width] * image[a, b]
        torch.testing.assert_close(mixer(x).view(height, width, 2), expected, rtol=1e-10, atol=1e-12)


def test_parameters_and_multiply_adds_of_s12():
    """One complex weight per frequency and channel in place of A and its bias; two transforms in place of A x."""
    model, linear = (create_model(name) for name in ("resmlp_s12_globalfilter", "resmlp_s12"))
    tokens, dim, depth = 196, 384, 12
    filters = 14 * 8 * dim * 2
    assert count_parameters(model) - count_parameters(linear) == depth * (filters - tokens**2 - tokens)
    image = torch.zeros(1, 3, 224, 224)
    fewer = depth * dim * (tokens**2 - 2 * tokens * 8)
    assert count_macs(linear, image) - count_macs(model, image) == fewer


def test_bf16_training_steps():
    model = create_model("resmlp_s12_globalfilter", img_size=(6, 10), **SMALL)
    with torch.autocast("cpu", torch.bfloat16):
        loss = model(torch.randn(2, 3, 6, 10)).float().square().mean()
    loss.backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


@pytest.mark.parametrize("to", ["onnx", "openvino"])
def test_it_is_exported(to, tmp_path):
    model = create_model("resmlp_s12_globalfilter", img_size=(6, 10), **SMALL)
    save_model(tmp_path / "run", model, ("a", "b", "c"), Preprocessing((6, 10)))
    assert resmlp.export(tmp_path / "run", to=to, out=tmp_path / to).difference < 1e-4


@torch.no_grad()
@pytest.mark.parametrize("residual", ["pre", "post"])
@pytest.mark.parametrize("pool", ["mean", "classmlp"])
def test_folds_and_lowers_to_products(pool, residual):
    model, images = network(pool=pool, residual=residual), torch.randn(2, 3, 6, 10, dtype=torch.float64)
    folded = fold(model)
    torch.testing.assert_close(folded(images), model(images), rtol=1e-10, atol=1e-10)
    assert not any(isinstance(part, Affine | LayerScale) for part in folded.modules())
    lowered = lower(folded)
    assert not any(isinstance(part, GlobalFilterMixer) for part in lowered.modules())
    torch.testing.assert_close(lowered(images), model(images), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("size", [(6, 10), None])
def test_weights_move_to_another_grid(size):
    """With the size known, also from a grid that is no square; without it, from a square."""
    trained = network(size or (8, 8))
    config = TrunkConfig("it", trained.config.architecture, (10, 12), 3)
    weights, config, words = resize_to(Weights(trained.state_dict(), "it"), config, size)
    assert words == f"interpolated from {'3x5' if size else '4x4'} to 5x6 tokens"
    model = Trunk(config).double().eval()
    load_into(model, weights)
    images = torch.randn(2, 3, 10, 12, dtype=torch.float64)
    moved = ResizedTrunk(trained.config, (10, 12)).double().eval()
    torch.testing.assert_close(moved(trained, images), model(images), rtol=1e-6, atol=1e-6)


def test_gradients_flow_back_through_another_size():
    trunk = network()
    ResizedTrunk(trunk.config, (4, 4)).double()(trunk, torch.randn(2, 3, 4, 4).double()).square().sum().backward()
    assert all(block.tokens.fn.filter.grad.abs().max() > 0 for block in trunk.blocks)


def test_a_backbone_moves():
    features = TrunkFeatures(network())
    assert [x.shape for x in features.at((8, 8))(torch.randn(1, 3, 8, 8).double())] == [(1, 6, 4, 4)] * 4


def test_its_own_multiply_adds_count():
    model, images = network(), torch.zeros(2, 3, 6, 10, dtype=torch.float64)
    for part in model.modules():
        assert not part._forward_pre_hooks
    own = [part.extra_macs(torch.zeros(2, 15, 6)) for part in model.modules() if isinstance(part, TokenMixer)]
    assert own == [2 * 2 * 15 * 6 * 4] * 2
    counted = count_macs(model, images)
    for part in model.modules():
        assert not part._forward_pre_hooks, "no hook is left"
        part.extra_macs = lambda x: 0
    assert counted == count_macs(model, images) + sum(own)


def test_weight_decay_acts_on_its_filter():
    model = network()
    role = dict(roles(model))
    assert {role[block.tokens.fn.filter] for block in model.blocks} == {"weight"}
