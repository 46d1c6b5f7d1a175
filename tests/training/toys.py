"""Toy tasks of several shapes: a frozen teacher, an EMA teacher, dense targets, sentences."""

from collections.abc import Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resmlp.tasks import Task

SAMPLES, STEPS = 8, 4


class Toy(Task):
    """Regression of random vectors by a small network; the base of the other tasks."""

    metric = "score"
    steps_per_epoch, samples_per_step = STEPS, SAMPLES

    def __init__(self, parts: int = 1, dropout: float = 0.0, model: nn.Module | None = None):
        torch.manual_seed(7)
        self.parts = parts
        self.model = model or nn.Sequential(nn.Linear(5, 16), nn.LayerNorm(16), nn.Dropout(dropout), nn.Linear(16, 3))
        self.seen: list[tuple[int, int]] = []

    def whole(self, epoch: int, step: int) -> dict[str, Any]:
        """All samples of a step: a function of the epoch and the step."""
        generator = torch.Generator().manual_seed(1000 * epoch + step)
        x = torch.randn(SAMPLES, 5, generator=generator)
        return {"x": x, "y": x[:, :3].roll(1, 1) + 0.5}

    def batches(self, epoch: int, start: int) -> Iterator[dict[str, Any]]:
        for number in range(start, STEPS * self.parts):
            step, part = divmod(number, self.parts)
            self.seen.append((epoch, number))
            size = SAMPLES // self.parts
            yield {key: value[part * size :][:size] for key, value in self.whole(epoch, step).items()}

    def loss(self, model: nn.Module, batch: dict[str, Any], step: int) -> dict[str, Tensor]:
        return {"loss": F.mse_loss(model(batch["x"]).float(), batch["y"])}

    def evaluate(self, model: nn.Module) -> Iterator[tuple[str, float]]:
        batch = self.whole(99, 0)
        yield "score", -F.mse_loss(model(batch["x"]).float(), batch["y"]).item()

    def save(self, folder: Path, model: nn.Module, scores: Mapping[str, Any]) -> None:
        torch.save(model.state_dict(), folder / "model.pt")


class Distill(Toy):
    """(i) A student learns from a frozen teacher, with dropout that must be off."""

    def __init__(self, **options):
        super().__init__(**options)
        self.teacher = nn.Sequential(nn.Linear(5, 8), nn.Dropout(0.5), nn.Linear(8, 3)).eval().requires_grad_(False)

    def loss(self, model, batch, step):
        with torch.no_grad():
            targets = self.teacher(batch["x"])
        student = model(batch["x"]).float()
        hard = F.cross_entropy(student, batch["y"].argmax(1))
        soft = F.kl_div(student.log_softmax(1), targets.softmax(1), reduction="batchmean")
        return {"loss": hard + soft, "hard": hard, "soft": soft}


class Follower(nn.Module):
    """A teacher and the center of its outputs."""

    def __init__(self, student: nn.Module):
        super().__init__()
        self.teacher = deepcopy(student).requires_grad_(False)
        self.register_buffer("center", torch.zeros(3))


class SelfDistill(Toy):
    """(ii) An EMA teacher and a center as state, as in DINO, with two noisy views."""

    def __init__(self, **options):
        super().__init__(**options)
        self.state = Follower(self.model)

    def loss(self, model, batch, step):
        one, two = (batch["x"] + 0.1 * torch.randn_like(batch["x"]) for _ in range(2))
        with torch.no_grad():
            outputs = self.state.teacher(one)
            self.state.center.mul_(0.9).add_(0.1 * outputs.mean(0))
        targets = ((outputs - self.state.center) / 0.5).softmax(1)
        return {"loss": -(targets * model(two).float().log_softmax(1)).sum(1).mean()}

    @torch.no_grad()
    def after_step(self, model, step):
        for average, parameter in zip(self.state.teacher.parameters(), model.parameters()):
            average.lerp_(parameter, 0.2)


class Dense(Toy):
    """(iii) Semantic segmentation; evaluated by the mean intersection over union."""

    metric = "miou"

    def __init__(self, **options):
        torch.manual_seed(7)
        net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 1))
        super().__init__(model=net, **options)

    def whole(self, epoch, step):
        generator = torch.Generator().manual_seed(1000 * epoch + step)
        images = torch.rand(SAMPLES, 3, 6, 10, generator=generator)
        masks = images.argmax(1)
        masks[:, 0] = 255
        return {"x": images, "y": masks}

    def loss(self, model, batch, step):
        return {"loss": F.cross_entropy(model(batch["x"]).float(), batch["y"], ignore_index=255)}

    def evaluate(self, model):
        batch = self.whole(99, 0)
        found, true = model(batch["x"]).argmax(1), batch["y"]
        known = true != 255
        ious = [
            ((found == k) & (true == k) & known).sum() / (((found == k) | (true == k)) & known).sum() for k in range(3)
        ]
        yield "miou", torch.stack(ious).mean().item()
        yield "pixel_accuracy", (found == true)[known].float().mean().item()


class Copier(nn.Module):
    """Predicts the next word from the current one."""

    def __init__(self, words: int):
        super().__init__()
        self.words = nn.Embedding(words, 12)
        self.out = nn.Linear(12, words)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.out(self.words(tokens))


class Sentences(Toy):
    """(iv) Batches of sentences whose length differs from batch to batch; evaluated by a greedy search."""

    metric, words, end = "exact_match", 6, 0

    def __init__(self, **options):
        torch.manual_seed(7)
        super().__init__(model=Copier(self.words), **options)

    def whole(self, epoch, step):
        length = 2 + (3 * epoch + step) % 5
        generator = torch.Generator().manual_seed(1000 * epoch + step)
        first = torch.randint(self.words, (SAMPLES, 1), generator=generator)
        tokens = (first - torch.arange(length)).clamp(min=0)  # 5 4 3 2 1 0 0 0
        return {"tokens": tokens, "text": [" ".join(map(str, row)) for row in tokens.tolist()]}

    def loss(self, model, batch, step):
        tokens = batch["tokens"]
        return {"loss": F.cross_entropy(model(tokens[:, :-1]).float().flatten(0, 1), tokens[:, 1:].flatten())}

    def evaluate(self, model):
        hits = 0
        for first in range(self.words):
            said = [first]
            while said[-1] != self.end and len(said) < 10:
                said.append(int(model(torch.tensor([said]))[0, -1].argmax()))
            hits += said == list(range(first, -1, -1))
        yield "exact_match", hits / self.words
        yield "bleu", 100 * hits / self.words


TOYS = {"regression": Toy, "distill": Distill, "self-distill": SelfDistill, "dense": Dense, "sentences": Sentences}
