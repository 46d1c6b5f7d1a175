"""Tasks: what is learned. `TASKS` maps the task of a recipe to the class that does it; a new task is one file, one line."""

from resmlp import config
from resmlp.tasks.base import Batch, Place, Task
from resmlp.tasks.supervised import Supervised

TASKS: dict[type[config.Task], type[Task]] = {
    config.Supervised: Supervised,
}


def make_task(recipe: config.Recipe, place: Place) -> Task:
    """The recipe's task, its data opened and its modules built (on the CPU)."""
    return TASKS[type(recipe.task)](recipe, place)


__all__ = ["TASKS", "Batch", "Place", "Supervised", "Task", "make_task"]
