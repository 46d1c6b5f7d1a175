"""Resampling of parameters that are fixed to a grid of tokens. Used by `resmlp.models.resize`.

N tokens of the old grid, M of the new one. `U` (M N) enlarges an image of tokens by bicubic interpolation; its
pseudo-inverse `U+` (N M) is the best approximation of the way back: U+ U = 1. A matrix A (N N) that mixes the tokens
becomes `U A U+`: shrink, mix as before, enlarge. For a smaller grid it is `U+ A U`. So the way to a larger grid and
back keeps A, smooth images are mixed as before, and rows of equal sum keep that sum. Interpolating both sides of A by
U, scaled by N / M, is worse (docs/log.md).
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

Grid = tuple[int, int]
"""tokens of an image: rows h, columns w; numbered row by row"""


class Resampling(NamedTuple):
    """The step from one grid of tokens to another."""

    old: Grid
    new: Grid
    values: Tensor
    """M N: the weights of the old tokens in each new one"""
    weights: Tensor
    """N M: the weights of the new tokens in each old one; its rows sum to 1"""


class Rule(NamedTuple):
    """How a parameter moves to another grid."""

    move: Callable[[Tensor, Resampling], Tensor]
    """the parameter of the old grid -> that of the new one; raises RuntimeError or IndexError for another shape"""
    tokens: Callable[[Tensor, Grid], int | None] = lambda tensor, grid: None
    """the parameter -> its N, or None if its shape does not determine N; of several grids that fit, `grid` counts"""


def interpolation(old: int, new: int) -> Tensor:
    """The new x old matrix that enlarges `old` samples to `new`, bicubic between centers (align_corners=False)."""
    samples = torch.eye(old, dtype=torch.float64)[:, None, None]  # old 1 1 old: an image of one row for each sample
    return F.interpolate(samples, (1, new), mode="bicubic", align_corners=False)[:, 0, 0].T


def along(old: int, new: int) -> Resampling:
    """The step of one row of tokens from `old` to `new`."""
    if new >= old:
        values = interpolation(old, new)
        weights = torch.linalg.pinv(values)
    else:
        weights = interpolation(new, old)
        values = torch.linalg.pinv(weights)
    return Resampling((1, old), (1, new), values, weights)


def resampling(old: Grid, new: Grid) -> Resampling:
    """The step of a whole grid: the Kronecker product of that of a column and that of a row."""
    column, row = (along(before, after) for before, after in zip(old, new))
    return Resampling(old, new, _kron(column.values, row.values), _kron(column.weights, row.weights))


def _kron(a: Tensor, b: Tensor) -> Tensor:
    """torch.kron, which refuses some transposed matrices of a single row."""
    return torch.einsum("ij,kl->ikjl", a, b).reshape(len(a) * len(b), -1)


def mix(tensor: Tensor, r: Resampling) -> Tensor:
    """A matrix from tokens to tokens: N N -> M M"""
    return r.values @ tensor @ r.weights


def read(tensor: Tensor, r: Resampling) -> Tensor:
    """Weights over the tokens that are read, as of an MLP mixer's first layer: H N -> H M"""
    return tensor @ r.weights


def write(tensor: Tensor, r: Resampling) -> Tensor:
    """Weights or a bias of the tokens that are written, as of an MLP mixer's second layer: N H -> M H, N -> M"""
    return r.values @ tensor


def columns(tensor: Tensor, grid: Grid) -> int | None:
    """The columns of a matrix; None for a tensor of another number of dimensions."""
    return tensor.shape[1] if tensor.ndim == 2 else None


MIX, READ, WRITE = Rule(mix, columns), Rule(read, columns), Rule(write)
