"""Initialization. Each function initializes one module of a network over a `grid` of tokens, in place."""

from collections.abc import Callable

import torch
from torch import nn

from resmlp.nn.grid_resampling import Grid


def paper(module: nn.Module, grid: Grid) -> None:
    """The choice of the authors: truncated normal of std 0.02 for all linear layers and linear mixers, bias 0."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)


def fan_in(module: nn.Module, grid: Grid) -> None:
    """Truncated normal of variance 1 / inputs (LeCun), bias 0. A std of 0.02 is too small for 128 channels."""
    if isinstance(module, nn.Linear | nn.Conv2d) and module.bias is not None:
        nn.init.trunc_normal_(module.weight, std=module.weight[0].numel() ** -0.5)
        nn.init.zeros_(module.bias)


def local(module: nn.Module, grid: Grid) -> None:
    """As `fan_in`, but a mixer with its own `initialize_local` starts by that."""
    own = getattr(module, "initialize_local", None)
    if own is None or not own(grid):
        fan_in(module, grid)


def local_matrix(linear: nn.Linear, grid: Grid) -> None:
    """A matrix from tokens to tokens: a random 3x3 convolution of the grid, and noise of std 0.02; bias 0."""
    paper(linear, grid)
    with torch.no_grad():
        linear.weight += convolution_matrix(torch.empty(3, 3).normal_(std=1 / 3), grid)


def convolution_matrix(kernel: torch.Tensor, grid: Grid) -> torch.Tensor:
    """The N x N matrix that convolves the h x w grid of tokens with a k x k kernel (k odd), zeros beyond the border."""
    tokens = grid[0] * grid[1]
    images = torch.eye(tokens).view(tokens, 1, *grid)  # image j has a one at token j
    responses = nn.functional.conv2d(images, kernel[None, None], padding=kernel.shape[0] // 2)
    return responses.view(tokens, tokens).T


INITS: dict[str, Callable[[nn.Module, Grid], None]] = {"paper": paper, "fan-in": fan_in, "local": local}
