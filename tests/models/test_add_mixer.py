"""A mixer that the package does not have: GFNet's global filter (Rao et al. 2021), all of it in one class here.

It takes the place of the linear mixer in `MIXERS`. No other file knows of it, and it is folded, lowered, resized,
counted and decayed.
"""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resmlp import create_model
from resmlp.exporters.lowering import lower
from resmlp.models import Trunk, TrunkConfig, Weights, count_macs, load_into
from resmlp.models.backbones import TrunkFeatures
from resmlp.models.folding import fold
from resmlp.models.resize import ResizedTrunk, resize_to
from resmlp.nn import MIXERS, Affine, LayerScale, TokenMixer
from resmlp.nn.diagonal import Branch, Diagonal, of_zeros
from resmlp.nn.grid import Grid, Resampling, Rule
from resmlp.training.optim import roles


def spectrum(tensor: Tensor, r: Resampling) -> Tensor:
    """h w/2+1 D 2 -> h' w'/2+1 D 2, bicubic as GFNet does it."""
    size = r.new[0], r.new[1] // 2 + 1
    return F.interpolate(tensor.permute(2, 3, 0, 1), size, mode="bicubic").permute(2, 3, 0, 1).contiguous()


def tokens(tensor: Tensor, grid: Grid) -> int | None:
    """A half spectrum fits two widths: that of `grid` is meant, else a square."""
    if tensor.ndim != 4:
        return None
    return math.prod(grid) if tensor.shape[:2] == (grid[0], grid[1] // 2 + 1) else tensor.shape[0] ** 2


class GlobalFilter(TokenMixer):
    resize_rules = {"filter": Rule(spectrum, tokens)}
    decayed = ("filter",)

    def __init__(self, grid: Grid, dim: int):
        super().__init__()
        self.grid = grid
        self.filter = nn.Parameter(0.02 * torch.randn(grid[0], grid[1] // 2 + 1, dim, 2))

    @classmethod
    def build(cls, grid, arch):
        return cls(grid, arch.dim)

    def forward(self, x: Tensor) -> Tensor:
        waves = torch.fft.rfft2(x.unflatten(1, self.grid), dim=(1, 2))  # B h w/2+1 D
        return torch.fft.irfft2(waves * torch.view_as_complex(self.filter), self.grid, dim=(1, 2)).flatten(1, 2)

    def fold(self, first: Diagonal, last: Diagonal) -> Branch:
        bias = of_zeros(self, first, last, math.prod(self.grid))
        self.filter *= (first.gain * last.gain)[:, None]
        return Branch(self, bias=bias)

    def lowered(self) -> nn.Module:
        return Products(self)

    def extra_macs(self, x: Tensor) -> int:
        return 2 * x.numel() * math.ceil(math.log2(x.shape[1]))


class Products(nn.Module):
    """The transforms as products with cosines and sines, which every runtime has."""

    def __init__(self, mixer: GlobalFilter):
        super().__init__()
        h, w = mixer.grid
        n = torch.arange(h * w)
        y, x = ((n // w).to(mixer.filter.dtype), (n % w).to(mixer.filter.dtype))
        turns = y[:, None] * y / h + x[:, None] * x / w
        whole = torch.fft.fft2(
            torch.fft.irfft2(torch.view_as_complex(mixer.filter), mixer.grid, dim=(0, 1)), dim=(0, 1)
        )
        self.register_buffer("cos", torch.cos(2 * math.pi * turns))
        self.register_buffer("sin", torch.sin(2 * math.pi * turns))
        self.register_buffer("real", whole.real.flatten(0, 1) / (h * w))
        self.register_buffer("imag", whole.imag.flatten(0, 1) / (h * w))

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.cos @ x, -(self.sin @ x)
        return self.cos @ (a * self.real - b * self.imag) - self.sin @ (a * self.imag + b * self.real)


SMALL = {"dim": 6, "depth": 2, "patch_size": 2, "num_classes": 3, "layer_scale": 0.5}


@pytest.fixture(autouse=True)
def _registered(monkeypatch):
    monkeypatch.setitem(MIXERS, "linear", GlobalFilter)
    torch.manual_seed(0)


def network(size=(6, 10), **changes) -> Trunk:
    """Every number of it random; a grid of 3 x 5 by default."""
    model = create_model("resmlp_s12", img_size=size, **SMALL | changes).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.4)
    return model


@torch.no_grad()
@pytest.mark.parametrize("residual", ["pre", "post"])
@pytest.mark.parametrize("pool", ["mean", "classmlp"])
def test_folds_and_lowers_to_products(pool, residual):
    model, images = network(pool=pool, residual=residual), torch.randn(2, 3, 6, 10, dtype=torch.float64)
    folded = fold(model)
    torch.testing.assert_close(folded(images), model(images), rtol=1e-10, atol=1e-10)
    assert not any(isinstance(part, Affine | LayerScale) for part in folded.modules())
    lowered = lower(folded)
    assert not any(isinstance(part, GlobalFilter) for part in lowered.modules())
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
