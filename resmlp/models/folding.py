"""A copy of a trunk for inference, in which what only scales and shifts channels is part of the products beside it.

`D(x) = a x + b` for each channel is an Affine, a LayerScale, a BatchNorm in evaluation, the end of a LayerNorm. It
folds into a matrix over the channels beside it. A matrix over the tokens is the same for every channel, and has no
place for it: there `D2(A D1(x) + b)` becomes `s * (A x) + M`, with s of each channel, and M of each token and channel,
which is what the branch makes of zeros. That holds for every mixer that is linear in x, convolutions at the border too.

B images, N tokens, D channels.
"""

import math
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from resmlp.config.model_config import TrunkConfig
from resmlp.models.trunk import Trunk, check_size
from resmlp.nn import (
    Affine,
    AttentionMixer,
    CausalAttention,
    ClassMlp,
    ConvMixer,
    CrossAttention,
    DepthwiseConvMixer,
    FirstToken,
    LayerScale,
    LinearMixer,
    MaskedAttention,
    Mlp,
    PostResidual,
    Residual,
    SeparableConvMixer,
    TokenBatchNorm,
)
from resmlp.nn.pool import _Gather
from resmlp.utils.checks import demand

ENDS: dict[type, tuple[str, str]] = {
    Mlp: ("fc1", "fc2"),
    AttentionMixer: ("qkv", "proj"),
    CrossAttention: ("q", "proj"),
    CausalAttention: ("qkv", "proj"),
    MaskedAttention: ("qkv", "proj"),
}
"""of what is in a sublayer, the linear layer over channels that sees its input and the one that makes its output"""


class Diagonal(NamedTuple):
    """`gain * x + bias` for each channel, D each."""

    gain: Tensor
    bias: Tensor

    def after(self, first: "Diagonal") -> "Diagonal":
        """`first`, then this."""
        return Diagonal(self.gain * first.gain, self.gain * first.bias + self.bias)


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


def fold_before(first: Diagonal, linear: nn.Linear) -> nn.Linear:
    """W (a x + b) + c as one layer: W diag(a) and W b + c."""
    bias = linear.weight @ first.bias
    return linear_of(linear.weight * first.gain, bias if linear.bias is None else bias + linear.bias)


def fold_after(linear: nn.Linear, last: Diagonal) -> nn.Linear:
    """a (W x + c) + b as one layer: diag(a) W and a c + b."""
    return linear_of(last.gain.unsqueeze(1) * linear.weight, last.gain * linear.bias + last.bias)


def linear_of(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    """The linear layer of these tensors."""
    linear = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
    linear.weight = nn.Parameter(weight, requires_grad=False)
    if bias is not None:
        linear.bias = nn.Parameter(bias, requires_grad=False)
    return linear


class Branch(NamedTuple):
    """A folded branch: `gain * fn(x) + bias`."""

    fn: nn.Module
    gain: Tensor | None = None
    """D; None: 1"""
    bias: Tensor | None = None
    """D, or N D; None: 0"""


def into_ends(fn: nn.Module, first: Diagonal, last: Diagonal) -> Branch:
    """An MLP over channels, or attention: the linear layers at its ends take both."""
    enter, leave = ENDS[type(fn)]
    setattr(fn, enter, fold_before(first, getattr(fn, enter)))
    setattr(fn, leave, fold_after(getattr(fn, leave), last))
    return Branch(fn)


def into_map(fn: nn.Linear, first: Diagonal, last: Diagonal) -> Branch:
    """A matrix over tokens: `s * (A x) + M`."""
    bias = of_zeros(fn, first, last, fn.in_features)
    fn.bias = None  # type: ignore[assignment]
    return Branch(fn, last.gain * first.gain, bias)


def into_kernels(fn: ConvMixer, first: Diagonal, last: Diagonal) -> Branch:
    """A convolution of the grid: its kernels take the gains, and a map of each token and channel the rest.

    Beyond the border lie zeros and not `first.bias`, so that the rest differs along it.
    """
    bias = of_zeros(fn, first, last, math.prod(fn.grid))
    enter, leave = fn.conv, fn.pointwise if isinstance(fn, SeparableConvMixer) else fn.conv
    depthwise = enter.groups > 1  # a kernel for each channel: those that enter are those that leave
    enter.weight *= first.gain.view((-1, 1, 1, 1) if depthwise else (1, -1, 1, 1))
    leave.weight *= last.gain.view(-1, 1, 1, 1)
    enter.bias = leave.bias = None
    return Branch(fn, bias=bias)


def beside(fn: nn.Module, first: Diagonal, last: Diagonal) -> Branch:
    """What takes neither, as an MLP over tokens, whose activation stands between: both stay, as cheap as they can be.

    Behind its first matrix `first` would act on the hidden layer, which is larger than the input.
    """
    if bool((first.gain == 1).all() & (first.bias == 0).all()):
        return Branch(fn, last.gain, last.bias)
    return Branch(nn.Sequential(affine_of(first), fn), last.gain, last.bias)


def of_zeros(fn: nn.Module, first: Diagonal, last: Diagonal, tokens: int) -> Tensor:
    """What a branch makes of zeros: its constant part, N D."""
    return last.gain * fn(first.bias.expand(1, tokens, -1))[0] + last.bias


def affine_of(diagonal: Diagonal) -> Affine:
    """The Affine of these values."""
    affine = Affine(len(diagonal.gain)).requires_grad_(False)
    affine.alpha.data, affine.beta.data = diagonal
    return affine


FOLDS: dict[type, Callable[..., Branch]] = {
    Mlp: into_ends,
    AttentionMixer: into_ends,
    LinearMixer: into_map,
    _Gather: into_map,
    ConvMixer: into_kernels,
    DepthwiseConvMixer: into_kernels,
    SeparableConvMixer: into_kernels,
}
"""by what is in a sublayer; `beside` for all others"""


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
    fold_fn = FOLDS.get(type(fn), beside)
    stays, scale = split(sublayer.get_submodule("scale"), like)
    kind = type(sublayer.get_submodule("scale")).__name__
    demand(isinstance(stays, nn.Identity), f"a sublayer that ends in a {kind} cannot be folded", "use another scale")
    kept, norm = split(sublayer.get_submodule("norm"), like)
    if isinstance(sublayer, PostResidual):
        nothing = Diagonal(torch.ones_like(like), torch.zeros_like(like))
        if not isinstance(kept, nn.Identity):
            return FoldedSublayer(fold_fn(fn, nothing, scale), norm=sublayer.norm)
        return FoldedSublayer(fold_fn(fn, nothing, norm.after(scale)), skip=norm.gain)
    branch = fold_fn(fn, norm, scale)
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

    What stays: the normalization of a LayerNorm; an Affine before an MLP over tokens (`beside`); of a network without
    classifier the last Affine, after pooling. `config.network` is that of `model`, which is left as it is. The copy is
    not to be trained or saved. Raises `UserError`.
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
    head = fold_before(last, trunk.head) if isinstance(trunk.head, nn.Linear) else affine_of(last)
    parts = [trunk.pool, kept] if isinstance(trunk.pool, FirstToken) else [kept, trunk.pool]
    return nn.Sequential(*(part for part in parts if not isinstance(part, nn.Identity)), head)
