"""The plan of a row of the paper: what is trained or evaluated. Values only."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from resmlp.config import Recipe

LOCAL = "the token mixers start as 3x3 convolutions (init local)"
"""what a record says of a run that starts so"""


@dataclass(frozen=True)
class Training:
    """A run, and the runs that it needs."""

    recipe: Recipe
    data: str = ""
    """the training data, a folder in --data.root; empty: embedded data"""
    at: str = ""
    """TABLE/ROW, the place of the run; empty: the row that has this plan"""
    start: "Training | None" = None
    """the run that provides the initial weights"""
    teacher: "Training | None" = None
    """the run that provides the teacher"""

    def chain(self) -> Iterator["Training"]:
        """This run and all runs that it needs, in the order of training."""
        for needed in (self.start, self.teacher):
            if needed is not None:
                yield from needed.chain()
        yield self


@dataclass(frozen=True)
class Weights:
    """Published weights that are evaluated without training."""

    name: str
    """a name of `resmlp list weights`"""
    data: tuple[str, ...] = ()
    """the data sets for the evaluation, folders in --data.root"""


T = TypeVar("T")
Plan = Training | Weights | str
"""what is run for a row; a string is the reason why nothing is run"""
Plans = dict[str, dict[str, Plan]]
"""table -> row -> plan"""


def sets(plan: Plan) -> set[str]:
    """The data sets that a plan reads from --data.root."""
    if isinstance(plan, Training):
        return {training.data for training in plan.chain() if training.data}
    return set(plan.data) if isinstance(plan, Weights) else set()


def changed(value: T, **fields: Any) -> T:
    """`dataclasses.replace` for fields of a subclass, which the static type does not have."""
    return replace(value, **fields)  # type: ignore[type-var]


def variant(base: Training, about: str, model: dict[str, Any] | None = None, **parts: Any) -> Training:
    """A separate run: `base` with changed fields of its model, and with other `parts` of its recipe.

    `about` describes the difference.
    """
    recipe = base.recipe
    changed = replace(recipe.model, **(model or {}))
    about = f"{recipe.about}; {about}" if about else recipe.about
    return replace(base, at="", recipe=replace(recipe, about=about, model=changed, **parts))
