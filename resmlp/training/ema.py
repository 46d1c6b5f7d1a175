"""Averages of the weights of a model over its training, which are evaluated and saved as well."""

from copy import deepcopy

import torch
from torch import nn


class Average:
    """An average of the weights of a model; it is updated from the model and never trained."""

    state: nn.Module | None = None
    """further state for the checkpoint, so that a continued run is exact"""

    def __init__(self, model: nn.Module):
        self.module = deepcopy(model).requires_grad_(False)

    def after_step(self, model: nn.Module, step: int) -> None:  # an optional hook
        """Runs after optimizer step `step`, from 0."""

    def after_epoch(self, model: nn.Module) -> None:
        """Runs after the last step of an epoch and before the evaluation."""


class MovingAverage(Average):
    """Exponential moving average of the parameters; buffers are copied."""

    def __init__(self, model: nn.Module, decay: float):
        super().__init__(model)
        self.decay = decay

    @torch.no_grad()
    def after_step(self, model: nn.Module, step: int) -> None:
        """Update the average; the decay is lower in early steps, to forget the initial weights."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self.module.parameters()), list(model.parameters()), 1 - decay)
        for average, buffer in zip(self.module.buffers(), model.buffers()):
            average.copy_(buffer)


class EpochWeights(nn.Module):
    """The weights at the end of each of the last `count` epochs, on the CPU to save device memory."""

    taken: torch.Tensor

    def __init__(self, model: nn.Module, count: int):
        super().__init__()
        self.epochs = nn.ModuleList(deepcopy(model).cpu().requires_grad_(False) for _ in range(count))
        self.register_buffer("taken", torch.zeros((), dtype=torch.int64))

    def add(self, model: nn.Module) -> list[dict[str, torch.Tensor]]:
        """Store the weights of `model`, in place of the oldest of `count`, and return all stored state dicts."""
        self.epochs[int(self.taken) % len(self.epochs)].load_state_dict(model.state_dict())
        self.taken += 1
        return [epoch.state_dict() for epoch in self.epochs[: int(self.taken)]]


class EpochAverage(Average):
    """Mean of the weights at the end of each of the last `count` epochs, or of all epochs if there are fewer.

    It replaces the mean of the last checkpoints (Vaswani et al. 2017, section 6.1; Ott et al. 2018). Integer buffers
    are those of the last epoch.
    """

    state: EpochWeights

    def __init__(self, model: nn.Module, count: int):
        super().__init__(model)
        self.state = EpochWeights(model, count)

    @torch.no_grad()
    def after_epoch(self, model: nn.Module) -> None:
        """Store the weights of `model`, and compute the mean again."""
        copies, latest = self.state.add(model), model.state_dict()
        for name, average in self.module.state_dict().items():
            is_float = average.is_floating_point()
            average.copy_(torch.stack([copy[name] for copy in copies]).mean(0) if is_float else latest[name])
