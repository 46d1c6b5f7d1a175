"""Distillation: classification with labels and a teacher (section 3.1 of the paper; DeiT, section 4)."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resmlp import config
from resmlp.config import tasks as settings
from resmlp.tasks.base import Batch
from resmlp.tasks.supervised import Supervised
from resmlp.tasks.teacher import TeacherFunction, TopLogits, open_teacher, top_logits
from resmlp.tasks.teacher_cache import OutputCache
from resmlp.utils.checks import demand
from resmlp.utils.devices import Process


def hard(logits: Tensor, teacher_logits: TopLogits, temperature: float) -> Tensor:
    """Cross-entropy with the most probable class of the teacher (DeiT, equation 3): logits B K -> B."""
    return F.cross_entropy(logits, teacher_logits.indices[:, 0], reduction="none")


def soft(logits: Tensor, teacher_logits: TopLogits, temperature: float) -> Tensor:
    """T^2 KL(teacher || student) of the softmax at temperature T (DeiT, equation 2): logits B K -> B.

    The softmax of the teacher is over its k stored classes; the others have probability 0.
    """
    teacher = (teacher_logits.values / temperature).log_softmax(1)  # B k
    student = (logits / temperature).log_softmax(1).gather(1, teacher_logits.indices)  # B k
    return temperature**2 * (teacher.exp() * (teacher - student)).sum(1)


DISTANCES: dict[str, Callable[[Tensor, TopLogits, float], Tensor]] = {"hard": hard, "soft": soft}


class Distill(Supervised):
    """(1 - alpha) times the supervised loss plus alpha times the distance from a frozen teacher, with one head.

    The teacher gets the images of the student, equally cropped, erased and mixed, in its own resolution and
    normalization. It is not optimized, averaged or saved. `teacher`, a module or a function from images B 3 H W in
    [0, 1] to logits B K, replaces the teacher of the recipe.
    """

    def __init__(self, recipe: config.ImageRecipe, process: Process, teacher: TeacherFunction | None = None):
        super().__init__(recipe, process)
        self.options = task = cast(settings.Distill, recipe.task)
        classes = len(self.classes)
        demand(task.top_k <= classes, f"--task.top-k {task.top_k} exceeds the {classes} classes", "0 keeps all")
        self.top_k = 1 if task.targets == "hard" else task.top_k or classes
        self.teacher = open_teacher(task, self.classes, self.preprocessing.size, process.device, teacher)
        self.cache = None
        if task.cache:
            folder = Path(task.cache).expanduser()
            self.cache = OutputCache(folder, self.teacher, self.recipe, process, self.top_k, classes)

    def describe(self) -> Iterator[tuple[str, str]]:
        """The network, the images and the teacher."""
        yield from super().describe()
        task = self.options
        yield "teacher", self.teacher.describe() + (f", outputs cached in {self.cache.folder}" if self.cache else "")
        temperature = f", temperature {task.temperature:g}" if task.targets == "soft" else ""
        yield "targets", f"{1 - task.alpha:g} labels, {task.alpha:g} teacher ({task.targets}{temperature})"

    def batches(self, epoch: int, start: int) -> Iterator[Batch]:
        """The supervised batches, with their place: (epoch, number of the micro-batch)."""
        for number, batch in enumerate(super().batches(epoch, start), start):
            yield batch | {"place": (epoch, number)}

    def loss(self, model: nn.Module, batch: Batch, step: int) -> dict[str, Tensor]:
        """The weighted sum, its two parts, and the fraction of images with equal predictions of student and teacher."""
        self.freeze(step)
        images, targets = self.augmented(batch)
        teacher_logits = self.teacher_logits(batch, images)
        logits, alpha = model(self.grids.resized(images, step)).float(), self.options.alpha
        ce = self.cross_entropy(logits, targets)
        distances = DISTANCES[self.options.targets](logits, teacher_logits, self.options.temperature)  # B
        weights = self.weighted(targets)
        distill = (distances if weights is None else distances * weights.sum(1)).mean()
        agreement = (logits.argmax(1) == teacher_logits.indices[:, 0]).float().mean()
        loss = (1 - alpha) * ce + alpha * distill + self.inconsistency(logits, images, step)
        return {"loss": loss, "ce": ce, "distill": distill, "teacher_agreement": agreement}

    def teacher_logits(self, batch: Batch, images: Tensor) -> TopLogits:
        """The largest logits of the teacher for the normalized images B 3 H W, from the cache if they are in it."""
        cached = self.cache.read(batch) if self.cache else None
        if cached:
            return TopLogits(*(part.to(images.device) for part in cached))
        logits = top_logits(self.teacher(self.denormalize(images)), self.top_k)
        if self.cache:
            self.cache.write(batch, logits)
        return logits

    def denormalize(self, images: Tensor) -> Tensor:
        """Normalized B 3 H W -> float32 pixels B 3 H W in [0, 1]; the noise of random erasing may exceed it."""
        mean, std = (
            torch.tensor(values, device=images.device).view(-1, 1, 1)
            for values in (self.preprocessing.mean, self.preprocessing.std)
        )
        return images * std + mean
