"""What the engine asks of a task. A task owns modules, loss and evaluation; the engine owns all the rest."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from resmlp.config import Recipe
from resmlp.utils.errors import UserError

Batch = dict[str, Any]


class Task(ABC):
    """Turns a batch into `{"loss": ...}` and a model into named numbers.

    The engine calls, for each micro-batch of a step, `loss(model, batch, step)`; around the optimizer's step,
    `before_step(model, step)` and `after_step(model, step)`; after a line of the log `should_stop()`; after an epoch,
    `evaluate(model)` for the raw and for the averaged weights. Every random generator is seeded by (seed, step) before
    `loss`, so a task draws from them freely.
    """

    recipe: Recipe
    """the complete recipe, with the batch size and the learning rate that fit the training set"""
    model: nn.Module
    """what is trained: the optimizer, the weight average and the checkpoint see this and nothing else"""
    state: nn.Module | None = None
    """what is saved but not optimized: a teacher that follows the student, a center"""
    metric: str
    """the number of `evaluate` (higher is better) that decides which step was best"""
    steps_per_epoch: int
    """optimizer steps in an epoch"""
    samples_per_step: int
    """samples that all processes see in a step"""

    @abstractmethod
    def batches(self, epoch: int, start: int) -> Iterator[Batch]:
        """The micro-batches of an epoch from number `start` on, as this process sees them."""

    @abstractmethod
    def loss(self, model: nn.Module, batch: Batch, step: int) -> dict[str, Tensor]:
        """`{"loss": scalar, ...}`; other scalars are logged. `model` is `self.model`, perhaps wrapped for DDP."""

    @abstractmethod
    def evaluate(self, model: nn.Module) -> Iterator[tuple[str, float]]:
        """Named numbers of `model` (in evaluation mode, without gradient), the same in every process."""

    @abstractmethod
    def save(self, folder: Path, model: nn.Module) -> None:
        """Write all that using the trained `model` needs into `folder`."""

    def before_step(self, model: nn.Module, step: int) -> None:  # noqa: B027
        """Runs between the gradients and step `step`, before they are clipped: where one is None, nothing moves."""

    def after_step(self, model: nn.Module, step: int) -> None:  # noqa: B027 (a hook most tasks leave alone)
        """Runs after the optimizer's step `step`."""

    def should_stop(self) -> UserError | None:
        """Why nothing more will be learned and the run stops, the same in every process; None: it goes on."""
        return None

    def describe(self) -> Iterator[tuple[str, str]]:
        """Lines for the table at the start: (what, value)."""
        yield from ()

    def notes(self) -> dict[str, Any]:
        """What went on in the data, for summary.json; saved with each checkpoint."""
        return {}

    def recall(self, notes: dict[str, Any]) -> None:  # noqa: B027
        """Take up the `notes` of the checkpoint that the run continues from."""
