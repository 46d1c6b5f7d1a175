"""Layers over the tokens written as products from the left, as exported networks run them: nothing is transposed.

B images, N tokens in, M tokens out, D channels.
"""

import torch
from torch import Tensor, nn

from resmlp.nn.layers import Mlp


class TokenProduct(nn.Module):
    """A linear layer over the tokens, as a product from the left."""

    def __init__(self, linear: nn.Linear):
        super().__init__()
        self.weight = linear.weight
        self.bias = None if linear.bias is None else nn.Parameter(linear.bias.detach()[:, None], requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """B N D -> B M D"""
        mixed = torch.matmul(self.weight, x)
        return mixed if self.bias is None else mixed + self.bias


class TokenMlp(nn.Module):
    """An MLP over the tokens, as products from the left."""

    def __init__(self, mlp: Mlp):
        super().__init__()
        self.enter, self.act, self.leave = TokenProduct(mlp.fc1), mlp.act, TokenProduct(mlp.fc2)

    def forward(self, x: Tensor) -> Tensor:
        """B N D -> B N D"""
        return self.leave(self.act(self.enter(x)))
