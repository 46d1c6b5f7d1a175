"""The base class of image tasks: fit the batch to the data, report and count unreadable images."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from resmlp.config import Data, ImageRecipe
from resmlp.data.images.image_list import ImageList, kept_images, read_image_list
from resmlp.data.images.value_range import check_value_range
from resmlp.data.loading.train import TrainBatches
from resmlp.imaging.image_file import ImageSource
from resmlp.tasks.base import Batch, Task
from resmlp.tasks.fit_batch import fit_batch
from resmlp.utils.console import console
from resmlp.utils.devices import Process
from resmlp.utils.errors import counted, notice
from resmlp.utils.run_folder import IMAGES, checkpoint_steps


def fraction_summary(data: Data, classes: Sequence[str]) -> str:
    """The fraction of the training images that a run uses, for the table; empty for all images."""
    text = f" ({data.fraction:g} of {'each class' if classes else 'all'}, at least one)"
    return "" if data.fraction == 1 else text


class ImageTask(Task):
    """A task on images, whose batches list the unreadable ones."""

    recipe: ImageRecipe
    process: Process
    train: TrainBatches
    counts: dict[str, int]
    """numbers of images, by train and val"""
    continues: ImageList | None = None
    """the list of the images of a run that continues"""
    listed: Callable[[], ImageList]
    """makes the list of the images that the run holds out and trains on"""

    def __init__(self) -> None:
        self.unreadable: Counter[str] = Counter()
        self.earlier_deaths = 0

    def fit(self, recipe: ImageRecipe, process: Process, images: int) -> ImageRecipe:
        """Fit the recipe to the number of training images and keep it; the first process prints what changed."""
        self.process, self.recipe = process, fit_batch(recipe, images, process.world)
        if self.recipe is not recipe and process.rank == 0:
            notice(
                f"--data.batch-size {recipe.data.batch_size} exceeds the {counted(images, 'training image')}: "
                f"training with batch size {self.recipe.data.batch_size} and learning rate {self.recipe.optim.lr:.3g}"
            )
        return self.recipe

    def check_values(self, images: Sequence[ImageSource]) -> None:
        """Print a warning if images with over 8 bits use a small part of their range. Call it after `fit`.

        Raises `UserError` if their range is unknown.
        """
        warning = check_value_range(images, self.recipe.data.decoding)
        if warning and self.process.rank == 0:
            notice(warning)

    def open_list(self, recipe: ImageRecipe, process: Process) -> ImageList | None:
        """The list of the images of the run, if it continues, or of the run that it starts from: it has seen them."""
        self.continues = kept_images(process.folder)
        return self.continues or (read_image_list(Path(recipe.origin.run)) if recipe.origin else None)

    def announce(self, process: Process, notes: Iterable[str]) -> None:
        """Print notes about the data in the first process."""
        for note in notes if process.rank == 0 else ():
            notice(note)

    def record(self, folder: Path) -> None:
        """Write the list of the images of a new run; that of a run that continues stays, if it is there."""
        if self.continues or self.recipe.data.root is None:
            return
        if checkpoint_steps(folder):
            what = f"{folder / IMAGES} is gone: whether the images are still those of the run is not known"
            notice(f"{what}; it continues on those that are there now, and lists them")
        self.listed().write(folder)

    def report_unreadable(self, batches: Iterable[Batch], remedy: str) -> Iterator[Batch]:
        """The batches; report an unreadable image with the `remedy` the first time, and count it each time."""
        for batch in batches:
            for name in batch["unreadable"]:
                if name not in self.unreadable:
                    console.print(f"cannot read {name}: {remedy}", soft_wrap=True)
                self.unreadable[name] += 1
            yield batch

    def notes(self) -> dict[str, Any]:
        """The numbers of images, how often each unreadable image was requested, and the loader's dead processes."""
        deaths = self.earlier_deaths + self.train.deaths
        return {"unreadable": dict(self.unreadable), "images": self.counts, "worker_deaths": deaths}

    def recall(self, notes: dict[str, Any]) -> None:
        """Continue the counts of an earlier run."""
        self.unreadable.update(notes.get("unreadable", {}))
        self.earlier_deaths = notes.get("worker_deaths", 0)
