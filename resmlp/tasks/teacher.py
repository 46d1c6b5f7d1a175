"""Teachers: frozen networks whose logits for the student's images are targets.

B batch, K classes, k largest logits, H W height and width in pixels.
"""

from collections.abc import Callable
from hashlib import sha256
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resmlp import config
from resmlp.config import tasks as settings
from resmlp.config.preprocessing import LUMA
from resmlp.data.images.tree_files import short_list
from resmlp.models import Saved, open_model
from resmlp.utils.checks import demand
from resmlp.utils.errors import UserError

Size = tuple[int, int]
TeacherFunction = Callable[[Tensor], Tensor]
"""float32 images B 3 H W of the student's size, in [0, 1] except for erased pixels -> logits B K"""


class TopLogits(NamedTuple):
    """The k largest logits of a teacher for a micro-batch, in descending order."""

    values: Tensor
    """float32 B k"""
    indices: Tensor
    """int64 B k, classes of the values"""


def top_logits(logits: Tensor, k: int) -> TopLogits:
    """The k largest of the logits B K."""
    return TopLogits(*logits.float().topk(k, dim=1))


class TeacherNetwork(nn.Module):
    """A trained network with its own resolution and normalization, and its logits in the student's order of classes."""

    mean: Tensor
    std: Tensor
    order: Tensor

    def __init__(self, network: nn.Module, preprocessing: config.Preprocessing, size: Size, order: list[int]):
        super().__init__()
        self.network, self.size = network, size
        for name, values in (("mean", preprocessing.mean), ("std", preprocessing.std)):
            self.register_buffer(name, torch.tensor(values).view(-1, 1, 1))
        self.register_buffer("order", torch.tensor(order, dtype=torch.int64))

    def forward(self, images: Tensor) -> Tensor:
        """float32 B 3 H W in [0, 1] -> logits B K; images of another size are resized, bicubic and antialiased."""
        if images.shape[-2:] != self.size:
            images = F.interpolate(images, self.size, mode="bicubic", antialias=True)
        if len(self.mean) == 1 and images.shape[1] == 3:  # a teacher of gray images
            images = (images * images.new_tensor(LUMA).view(3, 1, 1)).sum(1, keepdim=True) / 2**16
        logits = self.network((images - self.mean) / self.std)
        return logits[:, self.order] if len(self.order) else logits


class Teacher:
    """A frozen network or function that gives logits, without gradients, in its own precision."""

    def __init__(self, function: TeacherFunction, name: str, precision: str, device: torch.device):
        self.function = function
        if isinstance(function, nn.Module):
            self.function = function.to(device).eval().requires_grad_(False)
        self.name, self.precision = name, precision
        self.check_logits: list[float] = []
        """the first logits of `check`: they identify differences in code that weights and module names do not show"""

    def __call__(self, images: Tensor) -> Tensor:
        """float32 B 3 H W in [0, 1] -> float32 logits B K"""
        bf16 = self.precision == "bf16"
        with torch.no_grad(), torch.autocast(images.device.type, torch.bfloat16, enabled=bf16):
            return self.function(images).float()

    def describe(self) -> str:
        """Name, parameters, image size and precision, for the table."""
        words = [self.name]
        if isinstance(self.function, nn.Module):
            words.append(f"{sum(p.numel() for p in self.function.parameters()):,} parameters")
        if isinstance(self.function, TeacherNetwork):
            words.append("at {}x{}".format(*self.function.size))
        return ", ".join([*words, self.precision])

    def identity(self) -> dict[str, object]:
        """What its outputs depend on: weights, normalization and order of classes (as a hash), size, precision, and the
        logits of `check`. Raises `UserError` for a function without weights."""
        hint = "leave out --task.cache, or give a torch module"
        if not isinstance(self.function, nn.Module):
            raise UserError(f"outputs of {self.name} cannot be cached: it has no weights that identify it", hint)
        digest = sha256()
        for key, tensor in sorted(self.function.state_dict().items()):
            digest.update(f"{key} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            digest.update(tensor.cpu().reshape(-1).view(torch.uint8).numpy())
        digest.update(repr(self.function).encode())  # modules without weights, such as activations
        size = list(self.function.size) if isinstance(self.function, TeacherNetwork) else None
        return {"sha256": digest.hexdigest(), "says": self.check_logits, "size": size, "precision": self.precision}

    def check(self, images: Tensor, num_classes: int) -> None:
        """Run the teacher once before training; raises `UserError` if that fails or the output does not fit."""
        try:
            logits = self(images)
        except Exception as error:
            reason = error.what if isinstance(error, UserError) else " ".join(str(error).split())[:200].rstrip(".")
            size, hint = "", "a teacher maps float32 images B 3 H W to logits B K"
            if isinstance(self.function, TeacherNetwork):
                size = " at {}x{}".format(*self.function.size)
                hint = "choose another --task.teacher-size, or leave it out"
            what = f"the teacher {self.name} cannot be run{size}: {reason or type(error).__name__}"
            raise UserError(what, hint) from error
        shape = tuple(logits.shape[1:])
        output = f"{shape[0]} logits" if len(shape) == 1 else f"an output of shape {shape}"
        what = f"the teacher {self.name} gives {output}, and the data has {num_classes} classes"
        demand(shape == (num_classes,), what, "use a teacher of the same classes")
        what = f"the teacher {self.name} gives logits that are not finite"
        demand(bool(logits.isfinite().all()), what, "try --task.teacher-precision fp32, or check its weights")
        self.check_logits = [round(value, 4) for value in logits[0, :8].tolist()]


def open_teacher(
    task: settings.Distill,
    classes: tuple[str, ...],
    size: Size,
    device: torch.device,
    function: TeacherFunction | None = None,
) -> Teacher:
    """The teacher for a student with these `classes` and image `size`; `function` replaces the teacher of `task`.

    Raises `UserError` for a teacher that is missing, untrained, of other classes, or that cannot be run.
    """
    if function is None:
        function, name = _teacher_network(open_model(task.teacher), task, classes), task.teacher
    else:
        name = getattr(function, "__name__", type(function).__name__)
    teacher = Teacher(function, name, task.teacher_precision, device)
    noise = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0))
    teacher.check(noise.to(device), len(classes))
    return teacher


def _teacher_network(saved: Saved, task: settings.Distill, classes: tuple[str, ...]) -> TeacherNetwork:
    """The network of a MODEL with its preprocessing of the student's images."""
    hint = "use trained weights: a run folder, a .safetensors file, or timm:NAME.TAG"
    demand(saved.trained, f"--task.teacher {task.teacher} has no trained weights", hint)
    sides = task.teacher_size or saved.preprocessing.size
    order = class_order(task.teacher, saved.classes, classes)
    return TeacherNetwork(saved.model, saved.preprocessing, (sides[0], sides[-1]), order)


def class_order(name: str, teacher_classes: tuple[str, ...], classes: tuple[str, ...]) -> list[int]:
    """The index of each of `classes` in the teacher `name`; [] for the same order, or if the teacher has no names.

    Raises `UserError` if the classes differ.
    """
    if not teacher_classes or teacher_classes == classes:
        return []
    hint = "use a teacher of the same classes"
    counts = f"the teacher {name} has {len(teacher_classes)} classes, and the data has {len(classes)}"
    demand(len(teacher_classes) == len(classes), counts, hint)
    index = {label: i for i, label in enumerate(teacher_classes)}
    unknown = [label for label in classes if label not in index]
    demand(not unknown, f"the teacher {name} has no class {short_list(unknown)}", hint)
    return [index[label] for label in classes]
