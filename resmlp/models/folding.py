"""A copy of a trunk for inference, in which what only scales and shifts channels is part of the products beside it.

`D(x) = a x + b` for each channel is an Affine, a LayerScale, a BatchNorm in evaluation, the end of a LayerNorm. It
folds into a matrix over the channels beside it. A matrix over the tokens is the same for every channel, and has no
place for it: there `D2(A D1(x) + b)` becomes `s * (A x) + M`, with s of each channel, and M of each token and channel,
which is what the branch makes of zeros. That holds for every mixer that is linear in x, convolutions at the border too.

B images, N tokens, D channels.
"""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from resmlp.config.model_config import TrunkConfig
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
from resmlp.nn.diagonal import Branch, Diagonal, fold_around, fold_before, fold_ends, fold_matrix
from resmlp.nn.pool import TokenGather
from resmlp.utils.checks import demand


def split(part: nn.Module, like: Tensor) -> tuple[nn.Module, Diagonal]:
    """A norm or scale as what cannot be folded, and the diagonal behind it; of the channels, type and device of `like`.

    Of a LayerNorm the normalization stays, of what is not known all of it.
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
"""modules of a sublayer that are no token mixers -> how they fold"""


def fold_branch(fn: nn.Module, first: Diagonal, last: Diagonal) -> Branch:
    """`last(fn(first(x)))`: a mixer folds itself, and what is not known stays as it is."""
    if isinstance(fn, TokenMixer):
        return fn.fold(first, last)
    return FOLDS.get(type(fn), fold_around)(fn, first, last)


def multiply_add(x: Tensor, gain: Tensor | None, bias: Tensor | None) -> Tensor:
    """`gain * x + bias` in one pass; None is 1 and 0."""
    if gain is None:
        return x if bias is None else x + bias
    return gain * x if bias is None else torch.addcmul(bias, gain, x)


class FoldedSublayer(nn.Module):
    """`norm(skip * x + gain * fn(x) + bias)`, of which what does nothing is left out."""

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
        return self.beside(x, self.fn(x))

    def beside(self, x: Tensor, y: Tensor) -> Tensor:
        """The skip connection B N D, and what `fn` gave, B N D -> B N D"""
        return self.norm(multiply_add(y, self.gain, multiply_add(x, self.skip, self.bias)))


class FoldedQuery(FoldedSublayer):
    """The same of a Class-MLP's weighted sum, which reads all tokens and updates the class token."""

    def forward(self, cls: Tensor, patches: Tensor) -> Tensor:  # type: ignore[override]
        """B 1 D, B N D -> B 1 D"""
        return self.beside(cls, self.fn(torch.cat([cls, patches], dim=1)))


def fold_sublayer(sublayer: nn.Module, like: Tensor) -> FoldedSublayer:
    """A `Residual`, a `PostResidual`, or a Class-MLP's query (pre-norm), folded. Takes its parts; it is used up.

    `like` has the D channels. Raises `UserError` for a scale that is no scale.
    """
    fn = sublayer.get_submodule("fn")
    stays, scale = split(sublayer.get_submodule("scale"), like)
    kind = type(sublayer.get_submodule("scale")).__name__
    demand(isinstance(stays, nn.Identity), f"a sublayer that ends in a {kind} cannot be folded", "use another scale")
    kept, norm = split(sublayer.get_submodule("norm"), like)
    if isinstance(sublayer, PostResidual):
        nothing = Diagonal(torch.ones_like(like), torch.zeros_like(like))
        if not isinstance(kept, nn.Identity):
            return FoldedSublayer(fold_branch(fn, nothing, scale), norm=sublayer.norm)
        return FoldedSublayer(fold_branch(fn, nothing, norm.after(scale)), skip=norm.gain)
    branch = fold_branch(fn, norm, scale)
    if not isinstance(kept, nn.Identity):
        branch = branch._replace(fn=nn.Sequential(kept, branch.fn))
    return FoldedSublayer(branch) if isinstance(sublayer, Residual) else FoldedQuery(branch)


@dataclass(frozen=True)
class FoldedConfig:
    """What a folded network was made of: its weights are no longer those of `network`, and fit nothing else."""

    network: TrunkConfig
    folded: bool = True

    @property
    def num_classes(self) -> int:
        """0: features, no classifier"""
        return self.network.num_classes


class FoldedTrunk(nn.Module):
    """A trunk made for inference, equal to what it was made of but for rounding. See `fold`."""

    def __init__(self, trunk: Trunk, tail: nn.Module):
        super().__init__()
        self.config = FoldedConfig(trunk.config)
        self.embed, self.blocks, self.tail = trunk.embed, nn.Sequential(*trunk.blocks), tail

    def forward(self, images: Tensor) -> Tensor:
        """B 3 H W -> B K, or features B D where there is no classifier. Raises `UserError` for another H or W."""
        check_size(images, self.config.network)
        return self.tail(self.blocks(self.embed(images)))

    def train(self, mode: bool = True) -> "FoldedTrunk":
        """Evaluation alone; raises `UserError` for training."""
        demand(not mode, "a folded network cannot be trained", "train the network it was made of, and fold that")
        return super().train(False)


@torch.no_grad()
def fold(model: Trunk) -> FoldedTrunk:
    """A copy of any vision trunk for inference alone, folded in 64 bits: it gives the same, in fewer passes.

    What stays: the normalization of a LayerNorm; an Affine before an MLP over tokens (`fold_around`); of a network
    without classifier the last Affine, after pooling. `config.network` is that of `model`, which is left as it is. The
    copy is not to be trained or saved. Raises `UserError`.
    """
    demand(isinstance(model, Trunk), "it is no vision trunk of ours", "a translator: resmlp.models.decoding.prepare")
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
    """Norm, pool and head: the norm's gain and bias pass through either pool, and of a first token alone all of it."""
    kept, last = split(trunk.norm, like)
    head = fold_before(last, trunk.head) if isinstance(trunk.head, nn.Linear) else last.affine()
    parts = [trunk.pool, kept] if isinstance(trunk.pool, FirstToken) else [kept, trunk.pool]
    return nn.Sequential(*(part for part in parts if not isinstance(part, nn.Identity)), head)
