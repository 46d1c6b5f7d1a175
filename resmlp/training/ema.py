"""Means of a model's weights over its training, evaluated and saved beside them."""

from copy import deepcopy

import torch
from torch import nn


class Average:
    """An average of a model's weights; it follows the model, and is never trained."""

    state: nn.Module | None = None
    """what is saved beside `module`, so that a continued run goes on exactly"""

    def __init__(self, model: nn.Module):
        self.module = deepcopy(model).requires_grad_(False)

    def after_step(self, model: nn.Module, step: int) -> None:  # (a hook that one of the two leaves alone)
        """Runs after optimizer step `step`, from 0."""

    def after_epoch(self, model: nn.Module) -> None:
        """Runs after the last step of an epoch, before the evaluation."""


class MovingAverage(Average):
    """An exponential moving average; buffers are copied."""

    def __init__(self, model: nn.Module, decay: float):
        super().__init__(model)
        self.decay = decay

    @torch.no_grad()
    def after_step(self, model: nn.Module, step: int) -> None:
        """Move towards `model`; early steps move faster, so that the start is forgotten."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self.module.parameters()), list(model.parameters()), 1 - decay)
        for mine, theirs in zip(self.module.buffers(), model.buffers()):
            mine.copy_(theirs)


class Copies(nn.Module):
    """The weights at the ends of the last `count` epochs, the oldest replaced first; on the CPU, which has room."""

    taken: torch.Tensor

    def __init__(self, model: nn.Module, count: int):
        super().__init__()
        self.epochs = nn.ModuleList(deepcopy(model).cpu().requires_grad_(False) for _ in range(count))
        self.register_buffer("taken", torch.zeros((), dtype=torch.int64))

    def take(self, model: nn.Module) -> list[dict[str, torch.Tensor]]:
        """Those there are with `model`'s own, which replaces the oldest where there are `count` already."""
        self.epochs[int(self.taken) % len(self.epochs)].load_state_dict(model.state_dict())
        self.taken += 1
        return [epoch.state_dict() for epoch in self.epochs[: int(self.taken)]]


class EpochAverage(Average):
    """The mean of the weights at the ends of the last `count` epochs, or of as many as there were.

    It stands for the mean of the last checkpoints (Vaswani et al. 2017, section 6.1; Ott et al. 2018). Buffers that are
    no floats are the last epoch's.
    """

    state: Copies

    def __init__(self, model: nn.Module, count: int):
        super().__init__(model)
        self.state = Copies(model, count)

    @torch.no_grad()
    def after_epoch(self, model: nn.Module) -> None:
        """Take `model`'s weights, and the mean anew."""
        copies, latest = self.state.take(model), model.state_dict()
        for name, mine in self.module.state_dict().items():
            floats = mine.is_floating_point()
            mine.copy_(torch.stack([copy[name] for copy in copies]).mean(0) if floats else latest[name])
