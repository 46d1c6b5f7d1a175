"""Weights for images of colors, moved to a network of gray images."""

from dataclasses import replace

import torch

from resmlp.config.preprocessing import Preprocessing
from resmlp.config.vision import Architecture
from resmlp.models.weights import Weights

KERNEL, BIAS = "embed.patches.proj.weight", "embed.patches.proj.bias"


def fit_channels(weights: Weights, arch: Architecture, seen: Preprocessing | None) -> tuple[Weights, str]:
    """Weights for three channels as those of one, if `arch` has one, and a description of the change, or "".

    The outputs for a gray image are the same: with the kernel W, and the mean m and the std s of each color c in
    `seen` (None: ImageNet's), the projection of a gray patch g is sum_c W_c (g - m_c) / s_c + b. It is written as
    W' (g - m') / s' + b' with m' and s' of `Preprocessing.for_channels`.
    """
    kernel, bias = weights.state.get(KERNEL), weights.state.get(BIAS)
    if arch.in_chans != 1 or kernel is None or bias is None or kernel.ndim != 4 or kernel.shape[1] != 3:
        return weights, ""
    colors = seen if seen and len(seen.mean) == 3 else Preprocessing((1, 1))
    gray = colors.for_channels(1)
    mean, std = (torch.tensor(values, dtype=torch.float64) for values in (colors.mean, colors.std))
    scaled = kernel.double() / std.view(3, 1, 1)  # D 3 p p
    shift = (scaled.sum((2, 3)) * (gray.mean[0] - mean)).sum(1)
    moved = {
        KERNEL: (scaled.sum(1, keepdim=True) * gray.std[0]).to(kernel),
        BIAS: (bias.double() + shift).to(bias),
    }
    return replace(weights, state=weights.state | moved), "the kernels of three colors joined to one of gray"
