"""Tasks: what is learned. `TASKS` maps a recipe's task to the class that does it: a new one is one file, one line."""

from collections.abc import Callable

from resmlp import config
from resmlp.tasks.base import Batch, Place, Task
from resmlp.tasks.supervised import Supervised

TASKS: dict[type[config.Task], Callable[[config.Recipe, Place], Task]] = {
    config.Supervised: Supervised,
}


def make_task(recipe: config.Recipe, place: Place) -> Task:
    """The recipe's task, its data opened and its modules built (on the CPU)."""
    return TASKS[type(recipe.task)](recipe, place)


__all__ = ["TASKS", "Batch", "Place", "Supervised", "Task", "make_task"]
