"""Token mixers: how patches communicate (Table 3, "patch communication"). The table at the end names them.

A mixer is one class, and this file is all that knows it. Besides `forward` and `build`, a mixer overrides the methods
and attributes of `TokenMixer` whose defaults do not suit it: how it is resized to another grid, initialized, folded,
lowered for export, counted and decayed.

B images, N tokens of a grid h x w (row by row), D channels. Each mixer maps B N D -> B N D.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resmlp.config.vision import Architecture
from resmlp.nn.channel_scaling import Branch, Diagonal, fold_ends, fold_matrix, of_zeros
from resmlp.nn.grid_resampling import MIX, READ, WRITE, Grid, Resampling, Rule
from resmlp.nn.init import local_matrix
from resmlp.nn.layers import ACTIVATIONS, Mlp
from resmlp.nn.lowered_layers import TokenMlp, TokenProduct
from resmlp.nn.null_gradient import null_gradient
from resmlp.nn.token_mixer import TokenMixer


class LinearMixer(TokenMixer, nn.Linear):
    """`A x + b` over the tokens, the same for every channel: the A of equation 2. `weight` is N x N, `bias` N."""

    resize_rules = {"weight": MIX, "bias": WRITE}

    @classmethod
    def build(cls, grid: Grid, arch: Architecture) -> Self:
        """A is square."""
        tokens = math.prod(grid)
        return cls(tokens, tokens)

    def forward(self, x: Tensor) -> Tensor:
        """B N D -> B N D"""
        return F.linear(x.transpose(1, 2), self.weight, self.bias).transpose(1, 2)

    def initialize_local(self, grid: Grid) -> bool:
        """A random 3x3 convolution of the grid, and noise."""
        local_matrix(self, grid)
        return True

    def fold(self, first: Diagonal, last: Diagonal) -> Branch:
        """`s * (A x) + M`"""
        return fold_matrix(self, first, last)

    def lowered(self) -> nn.Module:
        """A product from the left, without a transposition."""
        return TokenProduct(self)


class MlpMixer(TokenMixer, Mlp):
    """An MLP over the tokens, the same for every channel: MLP-Mixer's token mixing, and Table 3's linear -> MLP."""

    resize_rules = {"fc1.weight": READ, "fc2.weight": WRITE, "fc2.bias": WRITE}

    @classmethod
    def build(cls, grid: Grid, arch: Architecture) -> Self:
        """Four times the tokens wide unless the architecture says otherwise."""
        tokens = math.prod(grid)
        return cls(tokens, arch.token_hidden or 4 * tokens, ACTIVATIONS[arch.activation])

    @classmethod
    def sizes_of(cls, weights: Mapping[str, Tensor], arch: Architecture) -> Architecture:
        """The hidden width."""
        return replace(arch, token_hidden=len(weights["fc1.weight"])) if "fc1.weight" in weights else arch

    def forward(self, x: Tensor) -> Tensor:
        """B N D -> B N D"""
        return self.fc2(self.act(self.fc1(x.transpose(1, 2)))).transpose(1, 2)  # TorchScript knows no super()

    def lowered(self) -> nn.Module:
        """Products from the left."""
        return TokenMlp(self)


class ConvMixer(TokenMixer):
    """A 3x3 convolution over the grid of tokens, all channels to all channels. Zeros lie beyond the border."""

    def __init__(self, grid: Grid, dim: int, groups: int = 1):
        super().__init__()
        self.grid = grid
        self.conv = nn.Conv2d(dim, dim, 3, padding=1, groups=groups)

    @classmethod
    def build(cls, grid: Grid, arch: Architecture) -> Self:
        """A kernel for each channel, or for each pair of channels."""
        return cls(grid, arch.dim)

    def convolve(self, image: Tensor) -> Tensor:
        """B D h w -> B D h w"""
        return self.conv(image)

    def forward(self, x: Tensor) -> Tensor:
        """B N D -> B N D"""
        image = x.transpose(1, 2).unflatten(2, self.grid)  # B D h w
        return self.convolve(image).flatten(2).transpose(1, 2)

    def fold(self, first: Diagonal, last: Diagonal) -> Branch:
        """The kernels take the gains, and a map of each token and channel the rest.

        Beyond the border lie zeros and not `first.bias`, so that the map differs along it.
        """
        bias = of_zeros(self, first, last, math.prod(self.grid))
        depthwise = self.conv.groups > 1  # a kernel for each channel reads the channel that it writes
        self.conv.weight *= first.gain.view((-1, 1, 1, 1) if depthwise else (1, -1, 1, 1))
        leave = self.last_conv()
        leave.weight *= last.gain.view(-1, 1, 1, 1)
        self.conv.bias = leave.bias = None
        return Branch(self, bias=bias)

    def last_conv(self) -> nn.Conv2d:
        """The convolution that makes the output."""
        return self.conv


class DepthwiseConvMixer(ConvMixer):
    """A 3x3 convolution of each channel alone: no exchange between channels, like the linear mixer."""

    def __init__(self, grid: Grid, dim: int):
        super().__init__(grid, dim, groups=dim)


class SeparableConvMixer(DepthwiseConvMixer):
    """A depth-wise 3x3 convolution, then a 1x1 convolution over the channels."""

    def __init__(self, grid: Grid, dim: int):
        super().__init__(grid, dim)
        self.pointwise = nn.Conv2d(dim, dim, 1)

    def convolve(self, image: Tensor) -> Tensor:
        """B D h w -> B D h w"""
        return self.pointwise(self.conv(image))

    def last_conv(self) -> nn.Conv2d:
        """The 1x1 convolution."""
        return self.pointwise


class AttentionMixer(TokenMixer):
    """Multi-head self-attention (ViT, DeiT): the baseline that the paper simplifies."""

    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        null_gradient(self.qkv.bias, slice(dim, 2 * dim))  # of the keys
        self.proj = nn.Linear(dim, dim)

    @classmethod
    def build(cls, grid: Grid, arch: Architecture) -> Self:
        """The heads split the channels."""
        return cls(arch.dim, arch.heads)

    def forward(self, x: Tensor) -> Tensor:
        """B N D -> B N D"""
        # written out, and not by `attention.attend`, which neither torch.fx nor TorchScript reads
        q, k, v = self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind()  # B heads N D/heads
        return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))

    def fold(self, first: Diagonal, last: Diagonal) -> Branch:
        """The projections take both."""
        return fold_ends(self, "qkv", "proj", first, last)


class GlobalFilterMixer(TokenMixer):
    """A product in the frequency domain: irfft2(filter * rfft2(x)), a complex weight per frequency and channel.

    That is a circular convolution with a kernel of the size of the grid (GFNet, Rao et al. 2021, equation 3).
    """

    decayed = ("filter",)

    def __init__(self, grid: Grid, dim: int):
        super().__init__()
        self.grid = grid
        self.filter = nn.Parameter(0.02 * torch.randn(grid[0], grid[1] // 2 + 1, dim, 2))  # real and imaginary parts

    @classmethod
    def build(cls, grid: Grid, arch: Architecture) -> Self:
        """A filter for each channel."""
        return cls(grid, arch.dim)

    def forward(self, x: Tensor) -> Tensor:
        """B N D -> B N D"""
        spectrum = torch.fft.rfft2(x.unflatten(1, self.grid), dim=(1, 2))  # B h w/2+1 D
        filtered = spectrum * torch.view_as_complex(self.filter)
        return torch.fft.irfft2(filtered, self.grid, dim=(1, 2)).flatten(1, 2)

    def fold(self, first: Diagonal, last: Diagonal) -> Branch:
        """The filter takes both gains."""
        bias = of_zeros(self, first, last, math.prod(self.grid))
        self.filter.mul_((first.gain * last.gain)[:, None])
        return Branch(self, bias=bias)

    def lowered(self) -> nn.Module:
        """The transforms as matrix products."""
        return FourierProducts(self)

    def extra_macs(self, x: Tensor) -> int:
        """Two fast Fourier transforms of N log2 N a channel each."""
        return 2 * x.numel() * math.ceil(math.log2(x.shape[1]))


def resize_spectrum(filter: Tensor, step: Resampling) -> Tensor:
    """h w/2+1 D 2 -> h' w'/2+1 D 2: bicubic over the frequencies, as GFNet's authors resize it."""
    size = (step.new[0], step.new[1] // 2 + 1)
    return F.interpolate(filter.permute(2, 3, 0, 1), size, mode="bicubic").permute(2, 3, 0, 1).contiguous()


def tokens_of_spectrum(filter: Tensor, grid: Grid) -> int | None:
    """N of a filter; half a spectrum fits two widths: that of `grid` if it fits, else a square."""
    if filter.ndim != 4:
        return None
    return math.prod(grid) if filter.shape[:2] == (grid[0], grid[1] // 2 + 1) else filter.shape[0] ** 2


GlobalFilterMixer.resize_rules = {"filter": Rule(resize_spectrum, tokens_of_spectrum)}


class FourierProducts(nn.Module):
    """`GlobalFilterMixer`, its transforms as products with N x N matrices of cosines and sines."""

    cos: Tensor
    sin: Tensor
    real: Tensor
    imag: Tensor

    def __init__(self, mixer: GlobalFilterMixer):
        super().__init__()
        height, width = mixer.grid
        place = torch.arange(height * width)
        row, column = (place // width).to(mixer.filter.dtype), (place % width).to(mixer.filter.dtype)
        angle = 2 * math.pi * (row[:, None] * row / height + column[:, None] * column / width)
        kernel = torch.fft.irfft2(torch.view_as_complex(mixer.filter.detach()), mixer.grid, dim=(0, 1))
        whole = torch.fft.fft2(kernel, dim=(0, 1)).flatten(0, 1) / (height * width)  # N D
        for name, part in {"cos": angle.cos(), "sin": angle.sin(), "real": whole.real, "imag": whole.imag}.items():
            self.register_buffer(name, part.contiguous())

    def forward(self, x: Tensor) -> Tensor:
        """B N D -> B N D"""
        real, imag = self.cos @ x, -(self.sin @ x)
        filtered = real * self.real - imag * self.imag, real * self.imag + imag * self.real
        return self.cos @ filtered[0] - self.sin @ filtered[1]


MIXERS: dict[str, type[TokenMixer]] = {
    "linear": LinearMixer,
    "mlp": MlpMixer,
    "conv3x3": ConvMixer,
    "dwconv": DepthwiseConvMixer,
    "sepconv": SeparableConvMixer,
    "attention": AttentionMixer,
    "globalfilter": GlobalFilterMixer,
}
