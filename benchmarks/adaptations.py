"""Other ways to move a trained network to another image size: what `resmlp.models.at_size` is measured beside.

Each makes a network from a network, and needs no training. B images, N tokens of the trained grid h x w, M of the other
one, D channels.
"""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resmlp.models import Saved
from resmlp.models.at_size import at_size
from resmlp.models.resize import Size
from resmlp.nn.grid_resampling import Grid, Resampling, Rule, interpolation, mix
from resmlp.nn.mixers import LinearMixer

RANK = 8
"""of what `relative` keeps beside the table"""


def interpolated(saved: Saved, size: Size) -> Saved:
    """The network at another size, both sides of A interpolated and scaled: what others do."""
    return moved_by(plain, saved, size)


def relative(saved: Saved, size: Size) -> Saved:
    """The network at another size by relative positions, as in PosMLP: A as a table of offsets and a low-rank rest."""
    return moved_by(by_offsets, saved, size)


def moved_by(move: Callable[[Tensor, Resampling], Tensor], saved: Saved, size: Size) -> Saved:
    """The network at another size, with `move` in place of our rule for A."""
    rules = LinearMixer.resize_rules
    LinearMixer.resize_rules = rules | {"weight": Rule(move, rules["weight"].tokens)}
    try:
        return at_size(saved, size)
    finally:
        LinearMixer.resize_rules = rules


def plain(matrix: Tensor, r: Resampling) -> Tensor:
    """A N N -> M M: bicubic along the rows and the columns, by N / M so that sums stay."""
    sides = [sample(old, new) for old, new in zip(r.old, r.new)]
    both = torch.kron(*sides).to(matrix)
    return both @ matrix @ both.T * (matrix.shape[0] / len(both))


def sample(old: int, new: int) -> Tensor:
    """new x old: bicubic, also to fewer samples, without antialiasing."""
    if new >= old:
        return interpolation(old, new)
    eye = torch.eye(old, dtype=torch.float64)[:, None, None]
    return F.interpolate(eye, (1, new), mode="bicubic")[:, 0, 0].T


def by_offsets(matrix: Tensor, r: Resampling) -> Tensor:
    """A N N -> M M: the table is interpolated and scaled by N / M, the low-rank rest moves by U and U+."""
    if matrix.is_meta:  # a trial of the shape
        return mix(matrix, r)
    table = offset_table(matrix, r.old)
    rest = low_rank(matrix - matrix_of(table, r.old), RANK)
    size = [2 * side - 1 for side in r.new]
    wide = F.interpolate(table[None, None].float(), size, mode="bicubic", antialias=True)[0, 0].to(matrix)
    return matrix_of(wide * (len(matrix) / len(r.values)), r.new) + mix(rest, r)


def offset_table(matrix: Tensor, grid: Grid) -> Tensor:
    """N N -> 2h-1 2w-1: the mean over all pairs of tokens with the same offset, which is the least squares fit."""
    places, (rows, columns) = offsets(grid).flatten(), grid
    count = (2 * rows - 1) * (2 * columns - 1)
    sums = torch.zeros(count, dtype=matrix.dtype).index_add_(0, places, matrix.flatten())
    return (sums / torch.bincount(places, minlength=count)).view(2 * rows - 1, 2 * columns - 1)


def matrix_of(table: Tensor, grid: Grid) -> Tensor:
    """2h-1 2w-1 -> N N"""
    return table.flatten()[offsets(grid)]


def offsets(grid: Grid) -> Tensor:
    """N N int64: the place in a flat table of the offset from the token of the row to that of the column."""
    rows, columns = grid
    row, column = (place.flatten() for place in torch.meshgrid(*map(torch.arange, grid), indexing="ij"))
    down, right = (place[None, :] - place[:, None] for place in (row, column))
    return (down + rows - 1) * (2 * columns - 1) + right + columns - 1


def low_rank(matrix: Tensor, rank: int) -> Tensor:
    """The nearest matrix of this rank."""
    u, s, v = torch.linalg.svd(matrix, full_matrices=False)
    return (u[:, :rank] * s[:rank]) @ v[:rank]


class Matched(nn.Module):
    """A token mixer whose output is shifted and scaled, each channel for itself, to a `mean` and a `std` (D).

    Its first batch determines shift and scale.
    """

    def __init__(self, mixer: nn.Module, mean: Tensor, std: Tensor):
        super().__init__()
        self.mixer, self.mean, self.std = mixer, mean, std
        self.shift: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """B N D -> B N D"""
        y = self.mixer(x)
        if self.shift is None:
            mean, std = moments(y)
            self.gain = self.std / std.clamp_min(1e-6)
            self.shift = self.mean - mean * self.gain
        return y * self.gain + self.shift


def moments(y: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of B N D over images and tokens: D and D"""
    return y.mean((0, 1)), y.std((0, 1))


@torch.no_grad()
def with_moments(saved: Saved, moved: Saved, images: Tensor, others: Tensor) -> Saved:
    """The network `moved` with each token mixer's output matched to that of `saved`, the network it was made from.

    The same normalized images at the size of each: B 3 h w, B 3 h' w'.
    """
    model = deepcopy(moved.model)
    seen = list[tuple[Tensor, Tensor]]()
    hooks = [
        block.tokens.fn.register_forward_hook(lambda module, args, output: seen.append(moments(output)))
        for block in saved.model.blocks
    ]
    saved.model(images)
    for hook in hooks:
        hook.remove()
    for block, (mean, std) in zip(model.blocks, seen):
        block.tokens.fn = Matched(block.tokens.fn, mean, std)
    model(others)
    return replace(moved, model=model)
