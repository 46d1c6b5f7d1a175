"""Another grid of tokens: against a loop over pixels, by the action of matrices on images, and back again."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from resmlp import create_model
from resmlp.config.vision import ARCHITECTURES
from resmlp.models import TrunkConfig, Weights, load_into
from resmlp.models.resize import resize, resize_to
from resmlp.nn import LinearMixer
from resmlp.nn.grid_resampling import Resampling, Rule, along, interpolation, mix, resampling
from resmlp.nn.init import convolution_matrix
from resmlp.utils.errors import UserError

SMALL = {"dim": 12, "depth": 2, "num_classes": 3}


def cubic(t: float) -> float:
    """The kernel of cubic convolution (Keys 1981) with a = -0.75."""
    t, a = abs(t), -0.75
    if t <= 1:
        return (a + 2) * t**3 - (a + 3) * t**2 + 1
    return a * t**3 - 5 * a * t**2 + 8 * a * t - 4 * a if t < 2 else 0.0


def enlarged(image: Tensor, new: tuple[int, int]) -> Tensor:
    """Bicubic interpolation of an image h w, in a loop over pixels, with the border pixels repeated."""
    h, w = image.shape
    out = torch.zeros(new, dtype=image.dtype)
    for y in range(new[0]):
        for x in range(new[1]):
            v, u = (y + 0.5) * h / new[0] - 0.5, (x + 0.5) * w / new[1] - 0.5
            for row in range(math.floor(v) - 1, math.floor(v) + 3):
                for column in range(math.floor(u) - 1, math.floor(u) + 3):
                    pixel = image[min(max(row, 0), h - 1), min(max(column, 0), w - 1)]
                    out[y, x] += cubic(v - row) * cubic(u - column) * pixel
    return out


def smooth(grid: tuple[int, int]) -> Tensor:
    """A smooth function, sampled at the centers of a grid, as tokens N."""
    y, x = ((torch.arange(side, dtype=torch.float64) + 0.5) / side for side in grid)
    return (torch.cos(2.2 * y + 0.3)[:, None] * torch.sin(1.7 * x + 0.5)[None]).flatten()


@pytest.mark.parametrize(("old", "new"), [((3, 4), (5, 6)), ((2, 5), (7, 5)), ((4, 3), (8, 6))])
def test_values_of_new_tokens_against_a_loop_over_pixels(old, new):
    image = torch.rand(*old, dtype=torch.float64)
    result = resampling(old, new).values @ image.flatten()
    torch.testing.assert_close(result.view(new), enlarged(image, new), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("old", "new"), [((3, 4), (5, 6)), ((4, 3), (4, 7))])
def test_a_moved_matrix_acts_on_enlarged_images_as_the_old_one_on_images(old, new):
    """A' up(x) = up(A x) for random x, with `up` the loop over pixels."""
    a, x = torch.randn(math.prod(old), math.prod(old), dtype=torch.float64), torch.randn(*old, dtype=torch.float64)
    result = mix(a, resampling(old, new)) @ enlarged(x, new).flatten()
    torch.testing.assert_close(result.view(new), enlarged((a @ x.flatten()).view(old), new), rtol=0, atol=1e-9)


@pytest.mark.parametrize("new", [(6, 6), (5, 9), (2, 3), (3, 6)])
def test_rows_of_equal_sum_keep_it(new):
    a = torch.rand(16, 16, dtype=torch.float64)
    a *= 0.7 / a.sum(1, keepdim=True)
    torch.testing.assert_close(mix(a, resampling((4, 4), new)).sum(1), torch.full((math.prod(new),), 0.7).double())


@pytest.mark.parametrize("new", [(28, 28), (20, 17), (14, 15)])
def test_to_a_larger_grid_and_back(new):
    a = torch.randn(196, 196, dtype=torch.float64)
    moved = mix(a, resampling((14, 14), new))
    torch.testing.assert_close(mix(moved, resampling(new, (14, 14))), a, rtol=0, atol=1e-9)


@pytest.mark.parametrize("new", [(20, 20), (24, 10), (8, 9)])
def test_a_local_matrix_acts_alike_on_a_smooth_image(new):
    """A 3x3 blur on the old grid, against the same function sampled on the new one, within 0.02."""
    old = (12, 12)
    kernel = torch.tensor([[1.0, 2, 1], [2, 4, 2], [1, 2, 1]]) / 16
    a = convolution_matrix(kernel, old).double()
    a /= a.sum(1, keepdim=True)
    expected = enlarged((a @ smooth(old)).view(old), new)
    result = (mix(a, resampling(old, new)) @ smooth(new)).view(new)
    nearest = [[min(int((i + 0.5) * b / n), b - 1) for i in range(n)] for b, n in zip(old, new)]
    pick = torch.tensor([row * old[1] + column for row in nearest[0] for column in nearest[1]])
    by_nearest = a[pick][:, pick] * (math.prod(old) / math.prod(new))
    error = (result - expected).abs().max()
    assert error < 0.02
    assert error < (by_nearest @ smooth(new) - expected.flatten()).abs().max() / 3


def test_the_same_grid_is_the_same_bits():
    state = create_model("resmlp_s12", img_size=64, **SMALL).state_dict()
    assert all(
        resize(state, ARCHITECTURES["resmlp_s12"], (4, 4), (4, 4))[key] is tensor for key, tensor in state.items()
    )
    assert torch.equal(along(5, 5).weights.round(decimals=9), torch.eye(5).double())


def test_one_token_becomes_many():
    assert torch.equal(interpolation(1, 4), torch.ones(4, 1).double())
    assert mix(torch.tensor([[2.0]]).double(), resampling((1, 1), (2, 3))).sum(1).tolist() == pytest.approx([2.0] * 6)


NETWORKS = ["resmlp_s12", "resmlp_s12_mlp", "resmlp_s12_classmlp", "mixer_s16", "deit_s", "resmlp_s12_dwconv"]


@pytest.mark.isa
@pytest.mark.parametrize("new", [(96, 96), (48, 64), (16, 32)])
@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_takes_another_size(name, new):
    model = create_model(name, img_size=64, **SMALL)
    expected = TrunkConfig(name, replace(ARCHITECTURES[name], dim=12, depth=2), new, 3)
    weights, config, words = resize_to(Weights(model.state_dict(), "it"), expected, (64, 64))
    assert bool(words) == (name != "resmlp_s12_dwconv")
    moved = create_model(name, img_size=new, **SMALL, token_hidden=config.architecture.token_hidden)
    load_into(moved, weights)
    assert moved(torch.rand(2, 3, *new)).isfinite().all()
    back, _, _ = resize_to(weights, replace(config, size=(64, 64)), new)
    if new == (96, 96):
        for key, tensor in model.state_dict().items():
            torch.testing.assert_close(back.state[key], tensor, rtol=0, atol=1e-5, msg=key)


@pytest.mark.isa
@pytest.mark.parametrize("name", ["resmlp_s12", "resmlp_s12_mlp", "resmlp_s12_classmlp"])
def test_a_network_on_a_larger_grid_equals_the_old_one_on_enlarged_tokens(name):
    """Tokens, enlarged by the loop over pixels, in the first mixer or gather of both networks."""
    old, new = (3, 4), (5, 6)
    arch = {"dim": 4, "depth": 1, "num_classes": 3, "activation": "gelu", "patch_size": 8, "layer_scale": 1.0}
    small = create_model(name, img_size=(24, 32), **arch).double()
    state = resize(small.state_dict(), small.config.architecture, old, new)
    large = create_model(name, img_size=(40, 48), **arch, token_hidden=48 if name.endswith("_mlp") else None).double()
    large.load_state_dict(state)
    tokens = torch.randn(12, 4, dtype=torch.float64)
    up = torch.stack([enlarged(column.view(old), new).flatten() for column in tokens.T], 1)
    if name == "resmlp_s12_classmlp":
        result, expected = (
            model.blocks[1].gathers[0].fn(torch.cat([torch.ones(1, 1, 4).double(), x[None]], 1))
            for model, x in ((large, up), (small, tokens))
        )
        torch.testing.assert_close(result, expected, rtol=0, atol=1e-6)
        return
    mixed = small.blocks[0].tokens.fn(tokens[None])[0]
    expected = torch.stack([enlarged(column.view(old), new).flatten() for column in mixed.T], 1)
    torch.testing.assert_close(large.blocks[0].tokens.fn(up[None])[0], expected, rtol=0, atol=1e-6)


@pytest.mark.isa
def test_a_positional_embedding_is_enlarged_but_not_that_of_the_class_token():
    state = create_model("deit_s", img_size=(48, 64), **SMALL).state_dict()
    before = state["embed.position.embedding"]
    after = resize(state, ARCHITECTURES["deit_s"], (3, 4), (6, 5))["embed.position.embedding"]
    assert torch.equal(after[:, 0], before[:, 0])
    for channel in (0, 7):
        expected = enlarged(before[0, 1:, channel].view(3, 4).double(), (6, 5))
        torch.testing.assert_close(after[0, 1:, channel].view(6, 5).double(), expected, rtol=0, atol=1e-6)


def config(size: tuple[int, int], **changes) -> TrunkConfig:
    return TrunkConfig("resmlp_s12", replace(ARCHITECTURES["resmlp_s12"], dim=12, depth=2, **changes), size, 3)


def test_with_an_unknown_size_the_grid_is_a_square():
    weights = Weights(create_model("resmlp_s12", img_size=64, **SMALL).state_dict(), "it")
    moved, _, words = resize_to(weights, config((96, 96)), None)
    assert words == "interpolated from 4x4 to 6x6 tokens"
    expected = resize(weights.state, config((96, 96)).architecture, (4, 4), (6, 6))
    assert torch.equal(moved.state["blocks.0.tokens.fn.weight"], expected["blocks.0.tokens.fn.weight"])


def test_with_an_unknown_size_another_grid_is_refused():
    weights = Weights(create_model("resmlp_s12", img_size=(48, 64), **SMALL).state_dict(), "it.pth")
    with pytest.raises(UserError, match=r"it.pth has 12 tokens, which form no square"):
        resize_to(weights, config((96, 96)), None)
    assert resize_to(weights, config((48, 64)), None) == (weights, config((48, 64)), "")


def test_another_grid_with_as_many_tokens():
    weights = Weights(create_model("resmlp_s12", img_size=(32, 128), **SMALL).state_dict(), "it")
    moved, _, words = resize_to(weights, config((64, 64)), (32, 128))
    assert "from 2x8 to 4x4" in words
    assert not torch.equal(moved.state["blocks.0.tokens.fn.weight"], weights.state["blocks.0.tokens.fn.weight"])


def test_a_lack_of_memory_is_not_taken_for_a_wrong_shape(monkeypatch):
    def huge(tensor: Tensor, r: Resampling) -> Tensor:
        return mix(tensor, r) if tensor.is_meta else torch.empty(2**58)

    monkeypatch.setattr(LinearMixer, "resize_rules", {"weight": Rule(huge)})
    with pytest.raises(RuntimeError, match="memory|allocate|storage"):
        resize({"blocks.0.tokens.fn.weight": torch.zeros(16, 16)}, ARCHITECTURES["resmlp_s12"], (4, 4), (8, 8))


@pytest.mark.parametrize("broken", [torch.zeros(16), torch.zeros(2, 2, 2), torch.zeros(5, 16), torch.zeros(0, 0)])
@pytest.mark.parametrize("block", [0, 1])
def test_tensors_of_a_wrong_shape_are_refused_by_the_loader(broken, block):
    state = create_model("resmlp_s12", img_size=64, **SMALL).state_dict() | {f"blocks.{block}.tokens.fn.weight": broken}
    weights, expected, _ = resize_to(Weights(state, "it"), config((96, 96)), (64, 64))
    with pytest.raises(UserError, match=r"blocks\.\d\.tokens\.fn"):
        load_into(create_model("resmlp_s12", img_size=96, **SMALL), weights)
