"""The only wiring of the networks: a sublayer with a skip connection."""

import torch
from torch import Tensor, nn

from resmlp.nn import fused
from resmlp.nn.layers import DropPath


class Residual(nn.Module):
    """`x + drop_path(scale(fn(norm(x))))`: pre-norm, the paper's choice (equations 2 and 3).

    In training, the parts of the paper run as one fused step (`resmlp.nn.fused`): same values, less time and memory.
    """

    def __init__(self, norm: nn.Module, fn: nn.Module, scale: nn.Module, drop_path: float = 0.0):
        super().__init__()
        self.norm = norm
        self.fn = fn
        self.scale = scale
        self.drop_path: nn.Module = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """B N D -> B N D"""
        if not torch.jit.is_scripting() and self.training:
            parts = self.norm, self.fn, self.scale, self.drop_path
            if fused.applies(x, *parts):
                return fused.step(x, *parts)
        return x + self.drop_path(self.scale(self.fn(self.norm(x))))


class PostResidual(Residual):
    """`norm(x + drop_path(scale(fn(x))))`: post-norm, as in the first Transformer (section 3.4: both converge)."""

    def forward(self, x: Tensor) -> Tensor:
        """B N D -> B N D"""
        return self.norm(x + self.drop_path(self.scale(self.fn(x))))


WIRINGS: dict[str, type[Residual]] = {"pre": Residual, "post": PostResidual}
