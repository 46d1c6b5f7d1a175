"""The interface of a task for the engine. A task owns modules, loss and evaluation; the engine owns the rest."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from resmlp.config import Recipe
from resmlp.utils.errors import UserError

Batch = dict[str, Any]


class Task(ABC):
    """Computes `{"loss": ...}` of a batch and named scores of a model.

    The engine calls `loss(model, batch, step)` for each micro-batch of a step, `before_step(model, step)` and
    `after_step(model, step)` around the step of the optimizer, `should_stop()` after each line of the log, and
    `evaluate(model)` after an epoch, for the raw and for the averaged weights. It seeds all random generators from
    (seed, step, part) before `loss`, so a task may use them.
    """

    recipe: Recipe
    """the complete recipe, with the batch size and the learning rate that fit the training set"""
    model: nn.Module
    """the trained module, for the optimizer, the weight average and the checkpoint"""
    state: nn.Module | None = None
    """further state for the checkpoint, which is not optimized, for example an EMA teacher"""
    metric: str
    """the score of `evaluate` (higher is better) that selects the best step"""
    steps_per_epoch: int
    """optimizer steps per epoch"""
    samples_per_step: int
    """samples per optimizer step, over all processes"""

    @abstractmethod
    def batches(self, epoch: int, start: int) -> Iterator[Batch]:
        """The micro-batches of an epoch for this process, from number `start` on."""

    @abstractmethod
    def loss(self, model: nn.Module, batch: Batch, step: int) -> dict[str, Tensor]:
        """`{"loss": scalar, ...}`; other scalars are logged. `model` is `self.model`, possibly wrapped by DDP."""

    @abstractmethod
    def evaluate(self, model: nn.Module) -> Iterator[tuple[str, float]]:
        """Named scores of `model` (in evaluation mode, without gradients), the same in every process."""

    @abstractmethod
    def save(self, folder: Path, model: nn.Module, scores: Mapping[str, Any]) -> None:
        """Write all files that are needed to use the `model`, whose last evaluation gave `scores`, into `folder`."""

    def before_step(self, model: nn.Module, step: int) -> None:  # noqa: B027
        """Runs after the backward pass of step `step`, before clipping; a parameter without gradient is not updated."""

    def after_step(self, model: nn.Module, step: int) -> None:  # noqa: B027 (an optional hook)
        """Runs after step `step` of the optimizer."""

    def should_stop(self) -> UserError | None:
        """The error that stops the run, the same in every process; None to continue."""
        return None

    def describe(self) -> Iterator[tuple[str, str]]:
        """Lines for the table at the start of the run: (name, value)."""
        yield from ()

    def record(self, folder: Path) -> None:  # noqa: B027
        """Write what a later start must know about the data into the run folder, before training."""

    def notes(self) -> dict[str, Any]:
        """Notes about the data for summary.json; each checkpoint saves them."""
        return {}

    def recall(self, notes: dict[str, Any]) -> None:  # noqa: B027
        """Restore the `notes` of the checkpoint from which the run continues."""
