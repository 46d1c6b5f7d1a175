"""Training that expects fewer bits: in each step a part of the weights are as 4 bits would have them (Quant-Noise).

Fan et al. 2020, "Training with Quantization Noise for Extreme Model Compression": the gradient is taken where some
weights, others in each step, are rounded, and moves the weights as they are (the straight-through estimator). As the
others are not rounded, their gradients are exact, unlike where all are.
"""

from types import TracebackType

import torch
from torch import Tensor, nn

from resmlp.models.quantised import matrices, nearest, rowwise, widest


class QuantNoise:
    """While it is entered, each weight of `model`'s matrices is rounded to 4 bits with probability `share`.

    For a forward pass and its backward pass; what is left afterwards is bit by bit what was there before. It draws from
    torch's global generator.
    """

    def __init__(self, model: nn.Module, share: float):
        self.weights, self.share = list(matrices(model).values()), share
        self.before: list[Tensor] = []

    @torch.no_grad()
    def __enter__(self) -> None:
        if not self.share:
            return
        self.before = [weight.clone() for weight in self.weights]
        for weight in self.weights:
            weight.copy_(noisy(weight, self.share))

    @torch.no_grad()
    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for weight, before in zip(self.weights, self.before):
            weight.copy_(before)
        self.before = []


def noisy(weight: Tensor, share: float) -> Tensor:
    """R ... -> the same with each weight rounded to 4 bits with probability `share`, by the widest step of its row."""
    step = widest(weight)
    rounded = nearest(weight, step) * rowwise(step, weight)
    return torch.where(torch.rand_like(weight) < share, rounded, weight)
