"""Teachers: trained networks that are asked about the student's images, and never learn themselves.

B batch, K classes, k classes kept of an answer, H W height and width in pixels.
"""

from collections.abc import Callable
from hashlib import sha256
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resmlp import config
from resmlp.config import tasks as settings
from resmlp.data.images.trees import short_list
from resmlp.models import Saved, open_model
from resmlp.utils.checks import demand
from resmlp.utils.errors import UserError

Size = tuple[int, int]
Ask = Callable[[Tensor], Tensor]
"""float32 images B 3 H W of the student's size, [0, 1] where nothing was erased -> logits B K"""


class Answer(NamedTuple):
    """What a teacher says of a micro-batch: its k largest logits, the largest first."""

    values: Tensor
    """float32 B k"""
    indices: Tensor
    """int64 B k, the classes of the values"""


def strongest(logits: Tensor, k: int) -> Answer:
    """The k largest of the logits B K."""
    return Answer(*logits.float().topk(k, dim=1))


class Frozen(nn.Module):
    """A trained network behind its own resolution and normalization, its logits in the student's order of classes."""

    mean: Tensor
    std: Tensor
    order: Tensor

    def __init__(self, network: nn.Module, preprocessing: config.Preprocessing, size: Size, order: list[int]):
        super().__init__()
        self.network, self.size = network, size
        for name, values in (("mean", preprocessing.mean), ("std", preprocessing.std)):
            self.register_buffer(name, torch.tensor(values).view(3, 1, 1))
        self.register_buffer("order", torch.tensor(order, dtype=torch.int64))

    def forward(self, images: Tensor) -> Tensor:
        """float32 B 3 H W in [0, 1] -> logits B K; another size is resized, bicubic and antialiased."""
        if images.shape[-2:] != self.size:
            images = F.interpolate(images, self.size, mode="bicubic", antialias=True)
        logits = self.network((images - self.mean) / self.std)
        return logits[:, self.order] if len(self.order) else logits


class Teacher:
    """One who is asked: without gradient, in evaluation mode, in the precision of its own."""

    def __init__(self, ask: Ask, name: str, precision: str, device: torch.device):
        self.ask = ask.to(device).eval().requires_grad_(False) if isinstance(ask, nn.Module) else ask
        self.name, self.precision = name, precision
        self.says: list[float] = []
        """the first logits of the image that `check` showed: wiring that neither weights nor words tell apart"""

    def __call__(self, images: Tensor) -> Tensor:
        """float32 B 3 H W in [0, 1] -> float32 logits B K"""
        bf16 = self.precision == "bf16"
        with torch.no_grad(), torch.autocast(images.device.type, torch.bfloat16, enabled=bf16):
            return self.ask(images).float()

    def describe(self) -> str:
        """Its name, parameters, size and precision."""
        words = [self.name]
        if isinstance(self.ask, nn.Module):
            words.append(f"{sum(p.numel() for p in self.ask.parameters()):,} parameters")
        if isinstance(self.ask, Frozen):
            words.append("at {}x{}".format(*self.ask.size))
        return ", ".join([*words, self.precision])

    def identity(self) -> dict[str, object]:
        """What its answers depend on: the weights, with the normalization and the order of classes; its parts; size;
        precision; and what it said to `check`."""
        hint = "leave out --task.cache, or give a torch module"
        if not isinstance(self.ask, nn.Module):
            raise UserError(f"answers of {self.name} cannot be kept: without weights, who gave them is not known", hint)
        digest = sha256()
        for key, tensor in sorted(self.ask.state_dict().items()):
            digest.update(f"{key} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            digest.update(tensor.cpu().reshape(-1).view(torch.uint8).numpy())
        digest.update(repr(self.ask).encode())  # activations and the like, which have no weights
        size = list(self.ask.size) if isinstance(self.ask, Frozen) else None
        return {"sha256": digest.hexdigest(), "says": self.says, "size": size, "precision": self.precision}

    def check(self, images: Tensor, num_classes: int) -> None:
        """Ask once, before training starts; raises `UserError` for what cannot be run, or answers something else."""
        try:
            logits = self(images)
        except Exception as error:
            reason = error.what if isinstance(error, UserError) else " ".join(str(error).split())[:200].rstrip(".")
            where, hint = "", "a teacher takes float32 images B 3 H W and gives logits B K"
            if isinstance(self.ask, Frozen):
                where = " at {}x{}".format(*self.ask.size)
                hint = "choose another --task.teacher-size, or leave it out"
            what = f"the teacher {self.name} cannot be run{where}: {reason or type(error).__name__}"
            raise UserError(what, hint) from error
        shape = tuple(logits.shape[1:])
        said = f"{shape[0]} logits" if len(shape) == 1 else f"an output of shape {shape}"
        what = f"the teacher {self.name} gives {said}, and the data has {num_classes} classes"
        demand(shape == (num_classes,), what, "a teacher must have learned the same classes")
        what = f"the teacher {self.name} answers with what is not finite"
        demand(bool(logits.isfinite().all()), what, "try --task.teacher-precision fp32; are its weights sound?")
        self.says = [round(value, 4) for value in logits[0, :8].tolist()]


def open_teacher(
    task: settings.Distill, classes: tuple[str, ...], size: Size, device: torch.device, given: Ask | None = None
) -> Teacher:
    """The teacher of a student with these `classes` and images of this `size`; `given` stands in for the named one.

    Raises `UserError` for a teacher that is missing, untrained, of other classes, or that cannot be run.
    """
    if given is None:
        given, name = _frozen(open_model(task.teacher), task, classes), task.teacher
    else:
        name = getattr(given, "__name__", type(given).__name__)
    teacher = Teacher(given, name, task.teacher_precision, device)
    noise = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0))
    teacher.check(noise.to(device), len(classes))
    return teacher


def _frozen(saved: Saved, task: settings.Distill, classes: tuple[str, ...]) -> Frozen:
    """The named network, with what lies between the student's images and it."""
    hint = "a teacher must be trained: a run folder, a .safetensors file, or timm:NAME.TAG"
    demand(saved.trained, f"--task.teacher {task.teacher} is a name alone: its weights are random", hint)
    sides = task.teacher_size or saved.preprocessing.size
    order = class_order(task.teacher, saved.classes, classes)
    return Frozen(saved.model, saved.preprocessing, (sides[0], sides[-1]), order)


def class_order(name: str, theirs: tuple[str, ...], ours: tuple[str, ...]) -> list[int]:
    """Where the teacher `name` has each of our classes; [] where it has them in our order, or does not name them."""
    if not theirs or theirs == ours:
        return []
    hint = "a teacher must have learned the same classes"
    counts = f"the teacher {name} has {len(theirs)} classes, and the data has {len(ours)}"
    demand(len(theirs) == len(ours), counts, hint)
    place = {label: i for i, label in enumerate(theirs)}
    unknown = [label for label in ours if label not in place]
    demand(not unknown, f"the teacher {name} does not know {short_list(unknown)}", hint)
    return [place[label] for label in ours]
