"""The only wiring in the network: a sublayer beside a skip connection."""

from torch import Tensor, nn


class DropPath(nn.Module):
    """Stochastic depth: in training, zero a whole picture's branch with probability `p`, and scale up the others."""

    def __init__(self, p: float = 0.0):
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """B N D -> B N D"""
        if self.p == 0.0 or not self.training:
            return x
        keep = 1.0 - self.p
        return x * x.new_empty(x.shape[0], 1, 1).bernoulli_(keep).div_(keep)

    def extra_repr(self) -> str:
        """Shown in `print(model)`."""
        return f"p={self.p}"


class Residual(nn.Module):
    """`x + drop_path(scale(fn(norm(x))))`: pre-norm, the paper's choice (equations 2 and 3)."""

    def __init__(self, norm: nn.Module, fn: nn.Module, scale: nn.Module, drop_path: float = 0.0):
        super().__init__()
        self.norm = norm
        self.fn = fn
        self.scale = scale
        self.drop_path: nn.Module = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """B N D -> B N D"""
        return x + self.drop_path(self.scale(self.fn(self.norm(x))))


class PostResidual(Residual):
    """`norm(x + drop_path(scale(fn(x))))`: post-norm, as the first Transformer had it (section 3.4: both converge)."""

    def forward(self, x: Tensor) -> Tensor:
        """B N D -> B N D"""
        return self.norm(x + self.drop_path(self.scale(self.fn(x))))


WIRINGS: dict[str, type[Residual]] = {"pre": Residual, "post": PostResidual}
