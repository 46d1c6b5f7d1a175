"""Heads: how tokens become one vector for the image. B images, N tokens, D channels."""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resmlp.nn.embed import ClassToken

Make = Callable[[], nn.Module]


class MeanPool(nn.Module):
    """The mean of the tokens: the default of the paper."""

    def forward(self, x: Tensor) -> Tensor:
        """B N D -> B D"""
        return x.mean(dim=1)


class FirstToken(nn.Module):
    """The first token, which is the class token."""

    def forward(self, x: Tensor) -> Tensor:
        """B N D -> B D"""
        return x[:, 0]


class TokenGather(nn.Linear):
    """A weighted sum of [class; patches], the same weights for every channel."""

    def __init__(self, tokens: int):
        super().__init__(tokens, 1)

    def forward(self, x: Tensor) -> Tensor:
        """B M D -> B 1 D"""
        return F.linear(x.transpose(1, 2), self.weight, self.bias).transpose(1, 2)


class ClassQuery(nn.Module):
    """A residual sublayer that reads all tokens and updates only the class token (class-attention of CaiT)."""

    def __init__(self, norm: nn.Module, fn: nn.Module, scale: nn.Module):
        super().__init__()
        self.norm = norm
        self.fn = fn
        self.scale = scale

    def forward(self, cls: Tensor, patches: Tensor) -> Tensor:
        """B 1 D, B N D -> B 1 D"""
        return cls + self.scale(self.fn(self.norm(torch.cat([cls, patches], dim=1))))


class ClassMlp(nn.Module):
    """Class-MLP (section 2): layers that update a class token from the patches, which stay the same.

    Each layer is a class-attention layer of CaiT with the attention replaced by a linear layer over [class; patches],
    then a channel MLP on the class token. `norm`, `scale` and `channels` build the parts of one layer.
    """

    def __init__(
        self,
        tokens: int,
        dim: int,
        norm: Make,
        scale: Make,
        channels: Make,
        depth: int = 2,
    ):
        super().__init__()
        self.token = nn.Parameter(torch.zeros(1, 1, dim))
        nn.init.trunc_normal_(self.token, std=0.02)
        self.gathers = nn.ModuleList(ClassQuery(norm(), TokenGather(tokens + 1), scale()) for _ in range(depth))
        self.channels = nn.ModuleList(channels() for _ in range(depth))

    def forward(self, patches: Tensor) -> Tensor:
        """B N D -> B 1+N D, the class token first"""
        cls = self.token.expand(patches.shape[0], -1, -1)
        for gather, channels in zip(self.gathers, self.channels):
            cls = channels(gather(cls, patches))
        return torch.cat([cls, patches], dim=1)


Layers = Callable[[int, int, Make, Make, Make], list[nn.Module]]
"""N tokens, D channels, and functions that build a norm, a scale and a channel sublayer -> layers"""


class Head(NamedTuple):
    """The parts of a trunk that turn tokens into one vector."""

    pool: Callable[[], nn.Module]
    """B N D (B 1+N D with a class token) -> B D, after the last norm"""
    tokens: Callable[[int], dict[str, nn.Module]] = lambda dim: {}
    """modules after the patch embedding, by name, each of which puts a learned token first: B N D -> B 1+N D"""
    layers: Layers = lambda *parts: []
    """modules that follow the last layer: B N D -> B 1+N D"""


HEADS: dict[str, Head] = {
    "mean": Head(MeanPool),
    "classmlp": Head(FirstToken, layers=lambda *parts: [ClassMlp(*parts)]),
    "classtoken": Head(FirstToken, tokens=lambda dim: {"cls": ClassToken(dim)}),
}
