"""Element-wise parts and the channel MLP. B images, N tokens, D channels."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from resmlp.nn.shared_masks import draw_rows


class Affine(nn.Module):
    """`alpha * x + beta` for each channel (equation 1), in place of the LayerNorm of a Transformer.

    It uses no statistics, so it can be folded into the linear layer next to it.
    """

    def __init__(self, dim: int, initial: float = 1.0):
        super().__init__()
        self.alpha = nn.Parameter(torch.full((dim,), initial))
        self.beta = nn.Parameter(torch.zeros(dim))

    def forward(self, x: Tensor) -> Tensor:
        """B N D -> B N D"""
        return torch.addcmul(self.beta, self.alpha, x)


class LayerScale(nn.Module):
    """`gamma * x` for each channel: CaiT's LayerScale, the second Aff of equations 2 and 3 in the authors' code."""

    def __init__(self, dim: int, initial: float = 0.1):
        super().__init__()
        self.gamma = nn.Parameter(torch.full((dim,), initial))

    def forward(self, x: Tensor) -> Tensor:
        """B N D -> B N D"""
        return self.gamma * x


class DropPath(nn.Module):
    """Stochastic depth: in training, drops the branch of an image with probability `p`, and scales up the others."""

    def __init__(self, p: float = 0.0):
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """B N D -> B N D"""
        factors = self.factors(x.shape[0], x)
        return x if factors is None else x * factors

    def factors(self, images: int, like: Tensor) -> Tensor | None:
        """New random factors of the branches, B 1 1, with the type of `like`; None if no branch is dropped."""
        if self.p == 0.0 or not self.training:
            return None
        keep = 1.0 - self.p
        if not torch.jit.is_scripting():
            return _own_factors(images, like, keep)
        return like.new_empty(images, 1, 1).bernoulli_(keep).div_(keep)

    def extra_repr(self) -> str:
        """Shown in `print(model)`."""
        return f"p={self.p}"


def _own_factors(images: int, like: Tensor, keep: float) -> Tensor:
    """The factors of this process's images among those of all processes. TorchScript cannot read it."""
    return draw_rows(lambda rows: like.new_empty(rows, 1, 1).bernoulli_(keep), images).div_(keep)


class TokenBatchNorm(nn.BatchNorm1d):
    """BatchNorm of each channel over all tokens of all images (appendix A: some gain as pre-norm)."""

    def forward(self, x: Tensor) -> Tensor:
        """B N D -> B N D"""
        return super().forward(x.transpose(1, 2)).transpose(1, 2)


class Mlp(nn.Module):
    """Two linear layers over the last dimension with an activation between: the feed-forward sublayer of equation 3."""

    def __init__(self, dim: int, hidden: int, activation: type[nn.Module] = nn.GELU):
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.act = activation()
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        """... D -> ... hidden -> ... D"""
        return self.fc2(self.act(self.fc1(x)))


Part = Callable[..., nn.Module]

NORMS: dict[str, Part] = {
    "affine": Affine,
    "layernorm": partial(nn.LayerNorm, eps=1e-6),
    "batchnorm": TokenBatchNorm,
    "none": lambda dim: nn.Identity(),
}

SCALES: dict[str, Part] = {
    "layerscale": LayerScale,
    "affine": Affine,
    "none": lambda dim, initial: nn.Identity(),
}

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "gelu": nn.GELU,
    "relu": nn.ReLU,
    "silu": nn.SiLU,
    "hardswish": nn.Hardswish,
}
