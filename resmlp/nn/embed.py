"""The embedding: from pixels to tokens. B images, N tokens, D channels."""

import torch
from torch import Tensor, nn


class PatchEmbed(nn.Module):
    """Cuts the image into patches of p x p pixels and projects each to D channels, by a strided convolution."""

    def __init__(self, patch_size: int, dim: int, in_chans: int = 3):
        super().__init__()
        self.proj = nn.Conv2d(in_chans, dim, patch_size, stride=patch_size)

    def forward(self, images: Tensor) -> Tensor:
        """B C H W -> B N D, tokens row by row"""
        return self.proj(images).flatten(2).transpose(1, 2)


class ClassToken(nn.Module):
    """Puts a learned token before the others (ViT)."""

    def __init__(self, dim: int):
        super().__init__()
        self.token = nn.Parameter(torch.zeros(1, 1, dim))
        nn.init.trunc_normal_(self.token, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        """B N D -> B 1+N D"""
        return torch.cat([self.token.expand(x.shape[0], -1, -1), x], dim=1)


class PositionalEmbedding(nn.Module):
    """Adds a learned vector to each token. A linear mixer does not need it (appendix A: no gain)."""

    def __init__(self, tokens: int, dim: int):
        super().__init__()
        self.embedding = nn.Parameter(torch.zeros(1, tokens, dim))
        nn.init.trunc_normal_(self.embedding, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        """B N D -> B N D"""
        return x + self.embedding
