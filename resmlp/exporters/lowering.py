"""Lowering: a folded network written with the matrix products that CPU runtimes compute fastest; equal up to rounding.

- Patches are cut by a transposition and projected by one product, with a row for each token.
- A matrix over tokens multiplies from the left, so nothing is transposed.
- A channel MLP takes all tokens of all images as the rows of one matrix.

B images, N tokens, D channels.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from resmlp.models.folding import FoldedTrunk
from resmlp.nn import Mlp, PatchEmbed, TokenMixer


class Patches(nn.Module):
    """`PatchEmbed` with patches as rows of pixels."""

    def __init__(self, embed: PatchEmbed, size: tuple[int, int]):
        super().__init__()
        self.patch = embed.proj.kernel_size[0]
        self.grid = (size[0] // self.patch, size[1] // self.patch)
        self.weight = nn.Parameter(embed.proj.weight.detach().flatten(1), requires_grad=False)
        self.bias = embed.proj.bias

    def forward(self, images: Tensor) -> Tensor:
        """B 3 H W -> B N D"""
        (down, across), side, channels = self.grid, self.patch, images.shape[1]
        patches = images.reshape(-1, channels, down, side, across, side).permute(0, 2, 4, 1, 3, 5)
        return F.linear(patches.reshape(-1, down * across, channels * side**2), self.weight, self.bias)


class RowMlp(nn.Module):
    """`Mlp` on the rows of one matrix, B*N D."""

    def __init__(self, mlp: Mlp):
        super().__init__()
        self.mlp = mlp

    def forward(self, x: Tensor) -> Tensor:
        """B N D -> B N D"""
        return self.mlp(x.reshape(-1, x.shape[2])).reshape(-1, *x.shape[1:])


def lower(folded: FoldedTrunk) -> FoldedTrunk:
    """The network with its patch embedding, mixers and MLPs replaced. `folded` is changed and may not be used again."""
    patches = folded.embed[0]
    assert isinstance(patches, PatchEmbed)
    folded.embed[0] = Patches(patches, folded.config.network.size)
    for parent in list(folded.modules()):
        for name, part in list(parent.named_children()):
            if isinstance(part, TokenMixer):
                setattr(parent, name, part.lowered())
            elif type(part) is Mlp:
                setattr(parent, name, RowMlp(part))
    return folded.eval().requires_grad_(False)
