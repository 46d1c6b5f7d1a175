"""Another image size: parameters moved to another grid of tokens, by the rules of `resmlp.nn.grid_resampling`.

`resize_to` and `resize` move weights once, before they are loaded; `resmlp.models.any_size` in each forward pass.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from resmlp.config.model_json import TrunkConfig
from resmlp.config.vision import Architecture
from resmlp.models.weight_formats import State
from resmlp.models.weights import Weights
from resmlp.nn import MIXERS, TokenMixer
from resmlp.nn.grid_resampling import Grid, Resampling, Rule, columns, read, resampling
from resmlp.utils.checks import demand

Size = tuple[int, int]
"""height, width in pixels"""

MIXER_KEY = re.compile(r"blocks\.\d+\.tokens\.fn\.(.+)")
"""the key of a parameter of a token mixer; its group is the name in the mixer"""


def move_gather(tensor: Tensor, r: Resampling) -> Tensor:
    """Weights of Class-MLP over [class; patches]: 1 1+N -> 1 1+M"""
    return torch.cat([tensor[:, :1], read(tensor[:, 1:], r)], dim=1)


def patches_of_gather(tensor: Tensor, grid: Grid) -> int | None:
    """The number of patches that weights of Class-MLP read."""
    width = columns(tensor, grid)
    return None if width is None else width - 1


def move_position(tensor: Tensor, r: Resampling) -> Tensor:
    """A positional embedding, unchanged for a class token: 1 N D -> 1 M D, 1 1+N D -> 1 1+M D"""
    extra = tensor.shape[1] - r.values.shape[1]
    return torch.cat([tensor[:, :extra], r.values @ tensor[:, extra:]], dim=1)


POSITION = "embed.position.embedding"
RULES: dict[str, Rule] = {
    r"blocks\.\d+\.gathers\.\d+\.fn\.weight": Rule(move_gather, patches_of_gather),
    re.escape(POSITION): Rule(move_position),
}
"""keys of other parameters that are fixed to the grid -> how each moves"""


def rule_of(key: str, arch: Architecture) -> Rule | None:
    """How the tensor of this key moves to another grid; None if it does not depend on the grid."""
    if own := MIXER_KEY.fullmatch(key):
        return mixer_of(arch).resize_rules.get(own[1])
    return next((rule for pattern, rule in RULES.items() if re.fullmatch(pattern, key)), None)


def mixer_of(arch: Architecture) -> type[TokenMixer]:
    """The token mixer class of an architecture; the base class for an architecture without a mixer."""
    return MIXERS.get(arch.mixer, TokenMixer)


def with_sizes_of(state: Mapping[str, Tensor], arch: Architecture) -> Architecture:
    """`arch` with the sizes of the mixers in `state`, which otherwise would follow from the new grid."""
    front = "blocks.0.tokens.fn."
    own = {key.removeprefix(front): tensor for key, tensor in state.items() if key.startswith(front)}
    return mixer_of(arch).sizes_of(own, arch)


def resize(state: State, arch: Architecture, old: Grid, new: Grid) -> State:
    """The tensors of a network of `arch`, moved from the grid of `old` tokens to that of `new` (rows, columns).

    Sizes that a mixer took from the old grid, such as the hidden width of an MLP, do not change. For the same grid the
    same tensors are returned.
    """
    if old == new:
        return dict(state)
    r = resampling(old, new)
    return {key: _moved(tensor, rule_of(key, arch), r) for key, tensor in state.items()}


def _moved(tensor: Tensor, rule: Rule | None, r: Resampling) -> Tensor:
    if rule is None or not _fits(rule, tensor, r):  # `load_into` names a tensor of the wrong shape
        return tensor
    return rule.move(tensor.cpu().double(), r).to(tensor)  # not every device supports float64


def _fits(rule: Rule, tensor: Tensor, r: Resampling) -> bool:
    """Whether the rule supports a tensor of this shape, tried on "meta"."""
    meta = r._replace(values=r.values.to("meta"), weights=r.weights.to("meta"))
    try:
        rule.move(torch.empty_like(tensor, dtype=torch.float64, device="meta"), meta)
    except (RuntimeError, IndexError):
        return False
    return True


def resize_to(weights: Weights, config: TrunkConfig, size: Size | None) -> tuple[Weights, TrunkConfig, str]:
    """Weights that were trained at `size` (height, width; None: unknown, a square) for the network of `config`.

    Returns the weights; the config, with the sizes of their mixers; and a description of the change, empty if the grid
    is the same. Weights of another model are returned unchanged, and `load_into` refuses them. Raises `UserError` if
    `size` is unknown and the tokens form no square.
    """
    new = config.grid
    trained = None if size is None else _grid_at(config, size)
    tokens = tokens_of(weights.state, config.architecture, trained or new)
    if tokens is None:
        return weights, config, ""
    old = trained or _square(weights, tokens, new)
    if old == new or math.prod(old) != tokens:
        return weights, config, ""
    arch = with_sizes_of(weights.state, config.architecture)
    words = "interpolated from {}x{} to {}x{} tokens".format(*old, *new)
    return replace(weights, state=resize(weights.state, arch, old, new)), replace(config, architecture=arch), words


def tokens_of(state: State, arch: Architecture, grid: Grid) -> int | None:
    """The number of patches that a state is fixed to; None if it fits any grid. See `Rule.tokens` for `grid`."""
    for key, tensor in state.items():
        if key == POSITION and tensor.ndim == 3:
            return tensor.shape[1] - ("embed.cls.token" in state)
        rule = rule_of(key, arch)
        tokens = rule and rule.tokens(tensor, grid)
        if tokens is not None:
            return tokens
    return None


def _square(weights: Weights, tokens: int, new: Grid) -> Grid:
    """The grid of weights with an unknown size: that of the network if it has as many tokens, else a square."""
    if tokens == math.prod(new):
        return new
    side = math.isqrt(tokens)
    what = f"{weights.source} has {tokens} tokens, which form no square, and its image size is unknown"
    demand(side**2 == tokens, what, "put its model.json next to it, or give the --data.img-size of its training")
    return side, side


def _grid_at(config: TrunkConfig, size: Size) -> Grid:
    """The grid at another size; a remainder, which only another network has, is dropped."""
    patch = config.architecture.patch_size
    return size[0] // patch, size[1] // patch
