"""How a network starts. Each function initialises one module in place, for `model.apply`."""

from collections.abc import Callable

import torch
from torch import nn

from resmlp.nn.mixers import Grid, LinearMixer


def paper(module: nn.Module) -> None:
    """The authors' choice: all linear layers, token mixers included, truncated normal of std 0.02, bias 0."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)


def fan_in(module: nn.Module) -> None:
    """Uniform with variance 1 / (3 inputs), PyTorch's own rule, bias 0: 0.02 is too little for narrow networks."""
    if isinstance(module, nn.Linear):
        nn.init.uniform_(module.weight, -(module.in_features**-0.5), module.in_features**-0.5)
        nn.init.zeros_(module.bias)


def local(module: nn.Module, grid: Grid) -> None:
    """As `fan_in`, but a linear mixer over `grid` starts as one random 3x3 convolution with zeros beyond the border."""
    fan_in(module)
    if isinstance(module, LinearMixer):
        with torch.no_grad():
            module.weight.copy_(convolution_matrix(torch.empty(3, 3).uniform_(-1, 1) / 3, grid))


def convolution_matrix(kernel: torch.Tensor, grid: Grid) -> torch.Tensor:
    """The N x N matrix that convolves the h x w grid of tokens with a k x k kernel (k odd), zeros beyond the border."""
    tokens = grid[0] * grid[1]
    images = torch.eye(tokens).view(tokens, 1, *grid)  # column j of the identity, as a picture
    responses = nn.functional.conv2d(images, kernel[None, None], padding=kernel.shape[0] // 2)
    return responses.view(tokens, tokens).T


INITS: dict[str, Callable[[nn.Module, Grid], None]] = {
    "paper": lambda module, grid: paper(module),
    "fan-in": lambda module, grid: fan_in(module),
    "local": local,
}
