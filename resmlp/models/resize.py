"""Another resolution: the parts of a network that are fixed to its grid of tokens, moved to another grid.

N tokens of the old grid, M of the new one. `U` (M N) stretches an image of tokens by bicubic interpolation; its
pseudo-inverse `U+` (N M) shrinks it again, the best it can: U+ U = 1. A matrix A (N N) that mixes the tokens becomes
`U A U+`: shrink, mix as before, stretch. Towards a smaller grid it is `U+ A U`. So there and back is the same matrix,
a smooth image is mixed as before, and rows of equal sum keep that sum. Interpolating both sides of A by U, scaled by
N / M, does worse (docs/log.md).
"""

import math
import re
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from resmlp.models.convert import State
from resmlp.models.trunk import Trunk, TrunkConfig
from resmlp.models.weights import Weights
from resmlp.nn.mixers import Grid
from resmlp.utils.checks import demand

Size = tuple[int, int]


class Change(NamedTuple):
    """From one grid of tokens to another, both sides at once."""

    values: Tensor
    """M N: what each new token takes over from the old ones"""
    weights: Tensor
    """N M: what each old token reads of the new ones; its rows sum to 1"""


Rule = Callable[[Tensor, Change], Tensor]


def interpolation(old: int, new: int) -> Tensor:
    """The new x old matrix that stretches `old` samples to `new`, bicubic between centers (align_corners=False)."""
    one_each = torch.eye(old, dtype=torch.float64)[:, None, None]  # old 1 1 old: an image of one row each
    return F.interpolate(one_each, (1, new), mode="bicubic", align_corners=False)[:, 0, 0].T


def along(old: int, new: int) -> Change:
    """The change of one side from `old` to `new` tokens."""
    if new >= old:
        stretch = interpolation(old, new)
        return Change(stretch, torch.linalg.pinv(stretch))
    back = along(new, old)
    return Change(back.weights, back.values)


def change(old: Grid, new: Grid) -> Change:
    """The change of a grid, as the Kronecker product of its sides': tokens are numbered row by row."""
    down, across = (along(before, after) for before, after in zip(old, new))
    return Change(*(_kron(a, b) for a, b in zip(down, across)))


def _kron(a: Tensor, b: Tensor) -> Tensor:
    """torch.kron, which refuses some transposed matrices of a single row."""
    return torch.einsum("ij,kl->ikjl", a, b).reshape(len(a) * len(b), -1)


def mix(tensor: Tensor, c: Change) -> Tensor:
    """The linear mixer's A: N N -> M M"""
    return c.values @ tensor @ c.weights


def read(tensor: Tensor, c: Change) -> Tensor:
    """Weights over the tokens read, as of an MLP mixer's first layer: H N -> H M"""
    return tensor @ c.weights


def write(tensor: Tensor, c: Change) -> Tensor:
    """Weights or a bias of the tokens written, as of an MLP mixer's second layer: N H -> M H, N -> M"""
    return c.values @ tensor


def gather(tensor: Tensor, c: Change) -> Tensor:
    """Class-MLP's weights over [class; patches]: 1 1+N -> 1 1+M"""
    return torch.cat([tensor[:, :1], read(tensor[:, 1:], c)], dim=1)


def place(tensor: Tensor, c: Change) -> Tensor:
    """A positional embedding, that of a class token (if there is one) kept: 1 N D -> 1 M D, 1 1+N D -> 1 1+M D"""
    extra = tensor.shape[1] - c.values.shape[1]
    return torch.cat([tensor[:, :extra], c.values @ tensor[:, extra:]], dim=1)


FIXED: dict[str, Rule] = {
    r"blocks\.\d+\.tokens\.fn\.weight": mix,
    r"blocks\.\d+\.tokens\.fn\.bias": write,
    r"blocks\.\d+\.tokens\.fn\.fc1\.weight": read,
    r"blocks\.\d+\.tokens\.fn\.fc2\.(weight|bias)": write,
    r"blocks\.\d+\.gathers\.\d+\.fn\.weight": gather,
    r"embed\.position\.embedding": place,
}
"""keys of what is fixed to the grid -> what becomes of it; convolutions and attention are not"""


def resize(state: State, old: Grid, new: Grid) -> State:
    """A network's tensors, in our names, for a grid of `new` tokens instead of `old` (both down, across).

    The hidden width of an MLP mixer stays. With the same grid the very tensors are returned.
    """
    if old == new:
        return dict(state)
    c = change(old, new)
    return {key: _resized(key, tensor, c) for key, tensor in state.items()}


def resize_to(weights: Weights, config: TrunkConfig, size: Size | None) -> tuple[Weights, TrunkConfig, str]:
    """Weights that were trained at `size` (height, width; None: unknown, a square) for the network of `config`.

    Returns the weights; the config, in which the hidden width of an MLP mixer is now that of the weights; and in words
    what was done, empty where the grid is the same. What is of another model comes back as it is, for `load_into` to
    name. Raises `UserError` where `size` is unknown and the tokens form no square.
    """
    new, tokens = config.grid, tokens_of(weights.state)
    if tokens is None:
        return weights, config, ""
    old = _grid(weights, tokens, new) if size is None else _grid_at(config, size)
    if old == new or math.prod(old) != tokens:
        return weights, config, ""
    first = weights.state.get("blocks.0.tokens.fn.fc1.weight")
    if first is not None:
        config = replace(config, architecture=replace(config.architecture, token_hidden=len(first)))
    words = "interpolated from {}x{} to {}x{} tokens".format(*old, *new)
    return replace(weights, state=resize(weights.state, old, new)), config, words


def tokens_of(state: State) -> int | None:
    """How many patches a state is fixed to; None where it takes any number."""
    for key, tensor in state.items():
        rule = rule_of(key)
        if rule is place and tensor.ndim == 3:
            return tensor.shape[1] - ("embed.cls.token" in state)
        if rule in (mix, read, gather) and tensor.ndim == 2:
            return tensor.shape[1] - (rule is gather)
    return None


def _grid(weights: Weights, tokens: int, new: Grid) -> Grid:
    """The grid of weights of which nothing says at which size they were trained."""
    if tokens == math.prod(new):
        return new
    side = math.isqrt(tokens)
    what = f"{weights.source} has {tokens} tokens, which form no square, and nothing says their grid"
    demand(side**2 == tokens, what, "put its model.json beside it, or give the --data.img-size that it was trained at")
    return side, side


def _grid_at(config: TrunkConfig, size: Size) -> Grid:
    """The grid at another size; what does not divide is of another network, and is cut off."""
    patch = config.architecture.patch_size
    return size[0] // patch, size[1] // patch


def rule_of(key: str) -> Rule | None:
    """What becomes of the tensor of this key on another grid; None: nothing."""
    return next((rule for pattern, rule in FIXED.items() if re.fullmatch(pattern, key)), None)


def _resized(key: str, tensor: Tensor, c: Change) -> Tensor:
    rule = rule_of(key)
    if rule is None or not _fits(rule, tensor, c):  # of another shape than its key says: `load_into` names it
        return tensor
    return rule(tensor.cpu().double(), c).to(tensor)  # not every device has doubles


def _fits(rule: Rule, tensor: Tensor, c: Change) -> bool:
    """Whether the rule takes a tensor of this shape, tried without memory."""
    try:
        rule(torch.empty_like(tensor, dtype=torch.float64, device="meta"), Change(*(part.to("meta") for part in c)))
    except (RuntimeError, IndexError):
        return False
    return True


class OtherSize(nn.Module):
    """Runs the trunk of `config` on images of `size` (height, width), its token mixers moved to their grid.

    That happens by `surgery`'s matrices in each forward pass, from the trunk's present parameters, and gradients flow
    back to them: the linear mixer's A runs as U+ A U. This module has no parameters of its own and adds nothing to a
    checkpoint. Raises `UserError` for a size that does not divide into patches.
    """

    values: Tensor
    weights: Tensor

    def __init__(self, config: TrunkConfig, size: Size):
        super().__init__()
        arch = config.architecture
        if arch.mixer == "mlp":  # its hidden width stays that of the trunk
            arch = replace(arch, token_hidden=arch.token_hidden or 4 * math.prod(config.grid))
        with torch.device("meta"):
            shape = Trunk(replace(config, architecture=arch, size=size))
        self.shape = (shape,)  # in a tuple, its parameters are nobody's
        for name, matrix in change(config.grid, shape.config.grid)._asdict().items():
            self.register_buffer(name, matrix.float(), persistent=False)

    def forward(self, trunk: Trunk, images: Tensor) -> Tensor:
        """The trunk, and B 3 h w -> its features B D"""
        there = Change(self.values, self.weights)
        moved = {}
        with torch.autocast(images.device.type, enabled=False):  # in bf16 U+ A U would lose what A learns
            for key, tensor in (*trunk.named_parameters(), *trunk.named_buffers()):
                rule = rule_of(key)
                moved[key] = rule(tensor, there) if rule else tensor
        return functional_call(self.shape[0].train(trunk.training), moved, (images,))
