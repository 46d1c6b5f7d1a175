"""What is run for a row of the paper: values only."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from resmlp.config import Recipe


@dataclass(frozen=True)
class Training:
    """A run, and the runs that come before it."""

    recipe: Recipe
    data: str = ""
    """the set that it learns from, a folder of --data.root; empty: it is embedded"""
    at: str = ""
    """TABLE/ROW whose run this is; empty: of the row that it is planned for"""
    start: "Training | None" = None
    """the run whose weights it starts from"""
    teacher: "Training | None" = None
    """the run that teaches it"""

    def chain(self) -> Iterator["Training"]:
        """The runs that this one needs, in the order in which they can be made, itself last."""
        for before in (self.start, self.teacher):
            if before is not None:
                yield from before.chain()
        yield self


@dataclass(frozen=True)
class Weights:
    """Published weights that are looked at or evaluated, and not trained."""

    name: str
    """of `resmlp list weights`"""
    data: tuple[str, ...] = ()
    """the sets that they are evaluated on"""


T = TypeVar("T")
Plan = Training | Weights | str
"""what is run for a row; or why nothing is, in words"""
Plans = dict[str, dict[str, Plan]]
"""table -> row -> plan"""


def sets(plan: Plan) -> set[str]:
    """The sets of data that a plan reads from --data.root."""
    if isinstance(plan, Training):
        return {training.data for training in plan.chain() if training.data}
    return set(plan.data) if isinstance(plan, Weights) else set()


def changed(value: T, **fields: Any) -> T:
    """`dataclasses.replace`, for fields that only the value's own class has."""
    return replace(value, **fields)  # type: ignore[type-var]


def variant(base: Training, about: str, model: dict[str, Any] | None = None, **parts: Any) -> Training:
    """`base` with other values of its recipe's model, and other `parts` of its recipe, as a run of its own.

    `about` says in words what differs.
    """
    recipe = base.recipe
    changed = replace(recipe.model, **(model or {}))
    about = f"{recipe.about}; {about}" if about else recipe.about
    return replace(base, at="", recipe=replace(recipe, about=about, model=changed, **parts))
