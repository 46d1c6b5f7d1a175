"""What tasks that learn from images share: those that cannot be read are named, and counted."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from resmlp.config import Data, ImageRecipe
from resmlp.tasks.base import Batch, Task
from resmlp.tasks.fit_batch import fit_batch
from resmlp.utils.devices import Process
from resmlp.utils.errors import counted, notice
from resmlp.utils.logger import console


def share_in_words(data: Data, classes: Sequence[str]) -> str:
    """What share of the training images, which are of `classes`, a run learns from; empty for all."""
    share = f" ({data.fraction:g} of {'each class' if classes else 'all'}, one at least)"
    return "" if data.fraction == 1 else share


class ImageTask(Task):
    """A task whose batches tell which images could not be read."""

    recipe: ImageRecipe
    process: Process
    counts: dict[str, int]
    """how many images there are to train on, and held out"""

    def __init__(self) -> None:
        self.unreadable: Counter[str] = Counter()

    def fit(self, recipe: ImageRecipe, process: Process, images: int) -> ImageRecipe:
        """Fit the recipe to the number of training images and keep it; the first process prints what changed."""
        self.process, self.recipe = process, fit_batch(recipe, images, process.world)
        if self.recipe is not recipe and process.rank == 0:
            notice(
                f"--data.batch-size {recipe.data.batch_size} exceeds the {counted(images, 'training image')}: "
                f"training with batch size {self.recipe.data.batch_size} and learning rate {self.recipe.optim.lr:.3g}"
            )
        return self.recipe

    def readable(self, batches: Iterable[Batch], remedy: str) -> Iterator[Batch]:
        """The batches as they come; an image that cannot be read is named the first time, and counted each time."""
        for batch in batches:
            for name in batch["unreadable"]:
                if name not in self.unreadable:
                    console.print(f"cannot read {name}: {remedy}", soft_wrap=True)
                self.unreadable[name] += 1
            yield batch

    def notes(self) -> dict[str, Any]:
        """How many images there are; those that could not be read, and how often each was asked for."""
        return {"unreadable": dict(self.unreadable), "images": self.counts}

    def recall(self, notes: dict[str, Any]) -> None:
        """Count on from an earlier run's notes."""
        self.unreadable.update(notes.get("unreadable", {}))
