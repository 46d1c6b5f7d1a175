"""Folding: a copy of a trunk for inference, with scales and shifts of channels folded into the products next to them.

An Affine, a LayerScale, a BatchNorm in evaluation and the end of a LayerNorm are `D(x) = a x + b` for each channel.
`resmlp.nn.channel_scaling` has the algebra, and a token mixer folds itself (`TokenMixer.fold`).

B images, N tokens, D channels.
"""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from resmlp.config.model_json import TrunkConfig
from resmlp.models.trunk import Trunk, check_size
from resmlp.nn import (
    Affine,
    ClassMlp,
    FirstToken,
    LayerScale,
    Mlp,
    PostResidual,
    Residual,
    TokenBatchNorm,
    TokenMixer,
)
from resmlp.nn.channel_scaling import Branch, Diagonal, fold_around, fold_before, fold_ends, fold_matrix
from resmlp.nn.heads import TokenGather
from resmlp.utils.checks import demand


def split_diagonal(part: nn.Module, like: Tensor) -> tuple[nn.Module, Diagonal]:
    """A norm or scale as a module that cannot be folded, and the diagonal after it.

    Of a LayerNorm the module is the normalization, of an unknown part the part itself. `like`, D, has the type and
    device of the channels.
    """
    one, zero = torch.ones_like(like), torch.zeros_like(like)
    match part:
        case Affine():
            return nn.Identity(), Diagonal(part.alpha, part.beta)
        case LayerScale():
            return nn.Identity(), Diagonal(part.gamma, zero)
        case TokenBatchNorm(running_mean=Tensor() as mean, running_var=Tensor() as variance):
            gain = part.weight * torch.rsqrt(variance + part.eps)
            return nn.Identity(), Diagonal(gain, part.bias - gain * mean)
        case nn.LayerNorm():
            plain = nn.LayerNorm(part.normalized_shape, part.eps, elementwise_affine=False)
            return plain, Diagonal(part.weight, part.bias)
    return part, Diagonal(one, zero)


FOLDS: dict[type, Callable[..., Branch]] = {
    Mlp: lambda fn, first, last: fold_ends(fn, "fc1", "fc2", first, last),
    TokenGather: fold_matrix,
}
"""modules of a sublayer other than token mixers -> how they fold"""


def fold_branch(fn: nn.Module, first: Diagonal, last: Diagonal) -> Branch:
    """`last(fn(first(x)))`: a mixer folds itself, and an unknown module is not changed."""
    if isinstance(fn, TokenMixer):
        return fn.fold(first, last)
    return FOLDS.get(type(fn), fold_around)(fn, first, last)


def multiply_add(x: Tensor, gain: Tensor | None, bias: Tensor | None) -> Tensor:
    """`gain * x + bias` in one pass; None means gain 1 or bias 0."""
    if gain is None:
        return x if bias is None else x + bias
    return gain * x if bias is None else torch.addcmul(bias, gain, x)


class FoldedSublayer(nn.Module):
    """`norm(skip * x + gain * fn(x) + bias)`, without factors of 1 and a bias of 0."""

    skip: Tensor | None
    gain: Tensor | None
    bias: Tensor | None

    def __init__(self, branch: Branch, skip: Tensor | None = None, norm: nn.Module | None = None):
        super().__init__()
        self.fn = branch.fn
        self.norm = norm or nn.Identity()
        for name, tensor, neutral in (("skip", skip, 1), ("gain", branch.gain, 1), ("bias", branch.bias, 0)):
            needed = tensor is not None and bool((tensor != neutral).any())
            self.register_buffer(name, tensor if needed else None)

    def forward(self, x: Tensor) -> Tensor:
        """B N D -> B N D"""
        return self.combine(x, self.fn(x))

    def combine(self, x: Tensor, y: Tensor) -> Tensor:
        """The input and the output of `fn`, B N D each -> B N D"""
        return self.norm(multiply_add(y, self.gain, multiply_add(x, self.skip, self.bias)))


class FoldedQuery(FoldedSublayer):
    """A folded sublayer of Class-MLP, which reads all tokens and updates the class token."""

    def forward(self, cls: Tensor, patches: Tensor) -> Tensor:  # type: ignore[override]
        """B 1 D, B N D -> B 1 D"""
        return self.combine(cls, self.fn(torch.cat([cls, patches], dim=1)))


def fold_sublayer(sublayer: nn.Module, like: Tensor) -> FoldedSublayer:
    """A `Residual`, a `PostResidual` or a `ClassQuery` of Class-MLP, folded. `sublayer` cannot be used afterwards.

    `like`, D, has the type and device of the channels. Raises `UserError` for an unknown scale.
    """
    fn = sublayer.get_submodule("fn")
    rest, scale = split_diagonal(sublayer.get_submodule("scale"), like)
    kind = type(sublayer.get_submodule("scale")).__name__
    demand(isinstance(rest, nn.Identity), f"a sublayer that ends in a {kind} cannot be folded", "use another scale")
    kept, norm = split_diagonal(sublayer.get_submodule("norm"), like)
    if isinstance(sublayer, PostResidual):
        identity = Diagonal(torch.ones_like(like), torch.zeros_like(like))
        if not isinstance(kept, nn.Identity):
            return FoldedSublayer(fold_branch(fn, identity, scale), norm=sublayer.norm)
        return FoldedSublayer(fold_branch(fn, identity, norm.after(scale)), skip=norm.gain)
    branch = fold_branch(fn, norm, scale)
    if not isinstance(kept, nn.Identity):
        branch = branch._replace(fn=nn.Sequential(kept, branch.fn))
    return FoldedSublayer(branch) if isinstance(sublayer, Residual) else FoldedQuery(branch)


@dataclass(frozen=True)
class FoldedConfig:
    """The network that was folded. The weights of the folded network do not fit `network`."""

    network: TrunkConfig
    folded: bool = True

    @property
    def num_classes(self) -> int:
        """Number of classes; 0 for features without a classifier."""
        return self.network.num_classes


class FoldedTrunk(nn.Module):
    """A folded trunk, with the outputs of the original trunk up to rounding. See `fold`."""

    def __init__(self, trunk: Trunk, tail: nn.Module):
        super().__init__()
        self.config = FoldedConfig(trunk.config)
        self.embed, self.blocks, self.tail = trunk.embed, nn.Sequential(*trunk.blocks), tail

    def forward(self, images: Tensor) -> Tensor:
        """B 3 H W -> B K, or features B D without a classifier. Raises `UserError` for images of another size."""
        check_size(images, self.config.network)
        return self.tail(self.blocks(self.embed(images)))

    def train(self, mode: bool = True) -> "FoldedTrunk":
        """Stay in evaluation mode. Raises `UserError` for training mode."""
        demand(not mode, "a folded network cannot be trained", "train the original network, then fold it")
        return super().train(False)


@torch.no_grad()
def fold(model: Trunk) -> FoldedTrunk:
    """A copy of a vision trunk for inference, folded in float64: the same outputs, in fewer passes over the tokens.

    Not folded are the normalization of a LayerNorm, an Affine before an MLP over tokens (`fold_around`) and, without a
    classifier, the last Affine, after pooling. `config.network` is the configuration of `model`, which is not changed.
    The copy cannot be trained or saved. Raises `UserError` for another network.
    """
    is_trunk = isinstance(model, Trunk)
    demand(is_trunk, "not a resmlp vision network", "fold a translator by resmlp.models.decoding.prepare")
    own = next(model.parameters())
    copy = deepcopy(model).cpu().double().requires_grad_(False).eval()
    like = torch.ones(model.config.architecture.dim, dtype=torch.float64)
    for i, block in enumerate(copy.blocks):
        if isinstance(block, ClassMlp):
            block.gathers = nn.ModuleList(fold_sublayer(part, like) for part in block.gathers)
            block.channels = nn.ModuleList(fold_sublayer(part, like) for part in block.channels)
        else:
            copy.blocks[i] = nn.Sequential(*(fold_sublayer(part, like) for part in block.children()))
    return FoldedTrunk(copy, _tail(copy, like)).eval().requires_grad_(False).to(own.device, own.dtype)


def _tail(trunk: Trunk, like: Tensor) -> nn.Module:
    """Norm, pool and head: gain and bias of the norm fold into the head; the rest of it may follow a `FirstToken`."""
    kept, last = split_diagonal(trunk.norm, like)
    head = fold_before(last, trunk.head) if isinstance(trunk.head, nn.Linear) else last.affine()
    parts = [trunk.pool, kept] if isinstance(trunk.pool, FirstToken) else [kept, trunk.pool]
    return nn.Sequential(*(part for part in parts if not isinstance(part, nn.Identity)), head)
