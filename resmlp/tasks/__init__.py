"""Tasks. `TASKS` maps the settings of a task to its class; a new task is one file and one line in it."""

from collections.abc import Callable
from typing import Any

from resmlp import config
from resmlp.config import tasks as settings
from resmlp.nn.batch_norm import synchronize_batch_norm
from resmlp.tasks.base import Batch, Task
from resmlp.tasks.complete import complete
from resmlp.tasks.dino import Dino
from resmlp.tasks.distill import Distill
from resmlp.tasks.multilabel import MultiLabel
from resmlp.tasks.segment import Segment
from resmlp.tasks.supervised import Supervised
from resmlp.tasks.translate import Translate
from resmlp.utils.devices import Process

TASKS: dict[type[settings.Task], Callable[..., Task]] = {
    settings.Supervised: Supervised,
    settings.Distill: Distill,
    settings.Dino: Dino,
    settings.Segment: Segment,
    settings.MultiLabel: MultiLabel,
    settings.Translate: Translate,
}


def make_task(recipe: config.Recipe, process: Process, **parts: Any) -> Task:
    """The task of a complete recipe (`complete`), with its data opened and its modules built on the CPU.

    With several processes, BatchNorm has the statistics of all of them. `parts` are Python objects that a recipe cannot
    contain, such as the `teacher` of `Distill`. Raises `UserError` for an error in the recipe or in the data.
    """
    task = TASKS[type(recipe.task)](recipe, process, **parts)
    if process.world > 1:
        for network in (task.model, task.state):
            if network is not None:
                synchronize_batch_norm(network, process.device)
    return task


__all__ = [
    "TASKS",
    "Batch",
    "Dino",
    "Distill",
    "MultiLabel",
    "Segment",
    "Supervised",
    "Task",
    "Translate",
    "complete",
    "make_task",
]
