"""Token mixers: how patches talk to each other (Table 3, "patch communication").

Each maps B N D -> B N D. All are built as `mixer(grid, arch)` from the token grid (h, w) and the architecture's sizes;
the table at the end is the one place to add another.
"""

import math

import torch.nn.functional as F
from torch import Tensor, nn

from resmlp.config.vision import Architecture
from resmlp.nn.layers import ACTIVATIONS, Mlp, Part

Grid = tuple[int, int]


class LinearMixer(nn.Linear):
    """`A x + b` over the tokens, the same for every channel: the A of equation 2. `weight` is N x N, `bias` N."""

    def forward(self, x: Tensor) -> Tensor:
        """B N D -> B N D"""
        return F.linear(x.transpose(1, 2), self.weight, self.bias).transpose(1, 2)


class MlpMixer(Mlp):
    """An MLP over the tokens, the same for every channel: MLP-Mixer's token mixing, and Table 3's linear -> MLP."""

    def forward(self, x: Tensor) -> Tensor:
        """B N D -> B N D"""
        return self.fc2(self.act(self.fc1(x.transpose(1, 2)))).transpose(1, 2)  # TorchScript knows no super()


class ConvMixer(nn.Module):
    """A 3x3 convolution over the grid of tokens, all channels to all channels. Zeros lie beyond the border."""

    def __init__(self, grid: Grid, dim: int, groups: int = 1):
        super().__init__()
        self.grid = grid
        self.conv = nn.Conv2d(dim, dim, 3, padding=1, groups=groups)

    def convolve(self, image: Tensor) -> Tensor:
        """B D h w -> B D h w"""
        return self.conv(image)

    def forward(self, x: Tensor) -> Tensor:
        """B N D -> B N D"""
        image = x.transpose(1, 2).unflatten(2, self.grid)  # B D h w
        return self.convolve(image).flatten(2).transpose(1, 2)


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


class AttentionMixer(nn.Module):
    """Multi-head self-attention (ViT, DeiT): the baseline that the paper simplifies."""

    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """B N D -> B N D"""
        # written out, and not by `attention.attend`, which neither torch.fx nor TorchScript reads
        q, k, v = self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind()  # B heads N D/heads
        return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


def linear(grid: Grid, arch: Architecture) -> LinearMixer:
    """The paper's mixer for this grid."""
    tokens = math.prod(grid)
    return LinearMixer(tokens, tokens)


def mlp(grid: Grid, arch: Architecture) -> MlpMixer:
    """The MLP mixer for this grid; four times the tokens wide unless the architecture says otherwise."""
    tokens = math.prod(grid)
    return MlpMixer(tokens, arch.token_hidden or 4 * tokens, ACTIVATIONS[arch.activation])


MIXERS: dict[str, Part] = {
    "linear": linear,
    "mlp": mlp,
    "conv3x3": lambda grid, arch: ConvMixer(grid, arch.dim),
    "dwconv": lambda grid, arch: DepthwiseConvMixer(grid, arch.dim),
    "sepconv": lambda grid, arch: SeparableConvMixer(grid, arch.dim),
    "attention": lambda grid, arch: AttentionMixer(arch.dim, arch.heads),
}
