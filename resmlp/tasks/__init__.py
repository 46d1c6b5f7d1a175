"""Tasks: what is learned. `TASKS` maps a recipe's task to the class that does it: a new one is one file, one line."""

from collections.abc import Callable
from typing import Any

from resmlp import config, objectives
from resmlp.tasks.base import Batch, Place, Task
from resmlp.tasks.dino import Dino
from resmlp.tasks.distill import Distill
from resmlp.tasks.segment import Segment
from resmlp.tasks.supervised import Supervised
from resmlp.tasks.translate import Translate

TASKS: dict[type[objectives.Task], Callable[..., Task]] = {
    objectives.Supervised: Supervised,
    objectives.Distill: Distill,
    objectives.Dino: Dino,
    objectives.Segment: Segment,
    objectives.Translate: Translate,
}


def make_task(recipe: config.Recipe, place: Place, **parts: Any) -> Task:
    """The recipe's task, its data opened and its modules built (on the CPU).

    `parts` are what a recipe cannot name and the task takes as it is, such as the `teacher` of `Distill`.
    """
    return TASKS[type(recipe.task)](recipe, place, **parts)


__all__ = ["TASKS", "Batch", "Dino", "Distill", "Place", "Segment", "Supervised", "Task", "Translate", "make_task"]
