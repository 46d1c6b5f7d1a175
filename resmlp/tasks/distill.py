"""Distillation: the labels and a teacher say together what is right (the paper's section 3.1; DeiT, section 4)."""

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
from resmlp.tasks.teacher import Answer, Ask, open_teacher, strongest
from resmlp.tasks.teacher_cache import AnswerCache
from resmlp.utils.checks import demand
from resmlp.utils.devices import Process


def hard(logits: Tensor, answer: Answer, temperature: float) -> Tensor:
    """Cross-entropy with the teacher's likeliest class (DeiT, equation 3); logits B K, a scalar."""
    return F.cross_entropy(logits, answer.indices[:, 0])


def soft(logits: Tensor, answer: Answer, temperature: float) -> Tensor:
    """T^2 KL(teacher || student) of the softmax at temperature T (DeiT, equation 2); logits B K, a scalar.

    The teacher's probabilities are those among the classes it kept, and 0 elsewhere.
    """
    wanted = (answer.values / temperature).log_softmax(1)  # B k
    found = (logits / temperature).log_softmax(1).gather(1, answer.indices)  # B k
    return temperature**2 * (wanted.exp() * (wanted - found)).sum(1).mean()


DISTANCES: dict[str, Callable[[Tensor, Answer, float], Tensor]] = {"hard": hard, "soft": soft}


class Distill(Supervised):
    """(1 - alpha) times the supervised loss, and alpha times the distance from a frozen teacher, on one head.

    The teacher sees what the student sees, cropped, erased and mixed alike, in its own resolution and normalization.
    It is neither optimized nor averaged nor saved. `teacher`, a module or a function of images B 3 H W in [0, 1]
    that gives logits B K, stands in for the one that the recipe names.
    """

    def __init__(self, recipe: config.ImageRecipe, process: Process, teacher: Ask | None = None):
        super().__init__(recipe, process)
        self.options = task = cast(settings.Distill, recipe.task)
        classes = len(self.classes)
        demand(task.top_k <= classes, f"--task.top-k {task.top_k} exceeds the {classes} classes", "0 keeps all")
        self.kept = 1 if task.targets == "hard" else task.top_k or classes
        self.teacher = open_teacher(task, self.classes, self.preprocessing.size, process.device, teacher)
        self.cache = None
        if task.cache:
            folder = Path(task.cache).expanduser()
            self.cache = AnswerCache(folder, self.teacher, self.recipe, process, self.kept, classes)

    def describe(self) -> Iterator[tuple[str, str]]:
        """The network, the images and the teacher."""
        yield from super().describe()
        task = self.options
        yield "teacher", self.teacher.describe() + (f", answers kept in {self.cache.folder}" if self.cache else "")
        temperature = f", temperature {task.temperature:g}" if task.targets == "soft" else ""
        yield "targets", f"{1 - task.alpha:g} the labels, {task.alpha:g} the teacher ({task.targets}{temperature})"

    def batches(self, epoch: int, start: int) -> Iterator[Batch]:
        """As supervised, and with its place: (epoch, number of the micro-batch)."""
        for number, batch in enumerate(super().batches(epoch, start), start):
            yield batch | {"place": (epoch, number)}

    def loss(self, model: nn.Module, batch: Batch, step: int) -> dict[str, Tensor]:
        """The weighted sum, its two parts, and the share of images on which student and teacher agree."""
        self.freeze(step)
        images, targets = self.augmented(batch)
        answer = self.answer(batch, images)
        logits, alpha = model(images).float(), self.options.alpha
        ce = self.cross_entropy(logits, targets)
        distill = DISTANCES[self.options.targets](logits, answer, self.options.temperature)
        agreement = (logits.argmax(1) == answer.indices[:, 0]).float().mean()
        loss = (1 - alpha) * ce + alpha * distill
        return {"loss": loss, "ce": ce, "distill": distill, "teacher_agreement": agreement}

    def answer(self, batch: Batch, images: Tensor) -> Answer:
        """What the teacher says of the normalized images B 3 H W, or has said of them before."""
        known = self.cache.read(batch) if self.cache else None
        if known:
            return Answer(*(part.to(images.device) for part in known))
        answer = strongest(self.teacher(self.images_of(images)), self.kept)
        if self.cache:
            self.cache.write(batch, answer)
        return answer

    def images_of(self, images: Tensor) -> Tensor:
        """Normalized B 3 H W -> pixels in [0, 1] (beyond, where noise was erased into them), float32 B 3 H W."""
        mean, std = (
            torch.tensor(values, device=images.device).view(3, 1, 1)
            for values in (self.preprocessing.mean, self.preprocessing.std)
        )
        return images * std + mean
