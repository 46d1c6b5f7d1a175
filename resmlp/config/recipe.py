"""Recipes: all settings of a run in one value."""

from dataclasses import dataclass, field
from typing import Any

from tyro.conf import Suppress

from resmlp.config.data import Augment, Data
from resmlp.config.model import Model
from resmlp.config.tasks import Distill, Segment, Supervised, Task, Translate
from resmlp.config.text import Seq2Seq, Text
from resmlp.config.training import Optim, Origin, Run
from resmlp.utils.checks import demand
from resmlp.utils.errors import UserError


@dataclass(frozen=True)
class Recipe:
    """All settings of a run, and the results in the paper; each kind of data has its own subclass."""

    name: Suppress[str]
    task: Task
    model: Any
    data: Any
    optim: Optim = Optim()
    run: Run = Run()
    about: Suppress[str] = ""
    """what the recipe trains, in one line"""
    paper: Suppress[str] = ""
    """its place in the paper"""
    expected: Suppress[tuple[tuple[str, float], ...]] = ()
    """target results, as (metric, value)"""
    origin: Suppress[Origin | None] = None
    """the run that it starts from; `resmlp.training.more` sets it"""

    def __post_init__(self) -> None:
        demand(
            self.name.replace("-", "").isalnum(),
            f"a recipe cannot have the name {self.name!r}",
            "use letters, digits and -",
        )


@dataclass(frozen=True)
class TextRecipe(Recipe):
    """Training of a translator."""

    task: Task = field(default_factory=Translate)
    model: Seq2Seq = Seq2Seq()
    data: Text = Text()

    def __post_init__(self) -> None:
        super().__post_init__()
        demand(isinstance(self.task, Translate), "the task is not for text", "use Translate")
        parts, tokens = self.run.accumulate, self.data.batch_size
        images = f"--run.checkpoint-activations is for images: {self.model.name} does not support it"
        demand(not self.run.checkpoint_activations, images, "leave it out; --run.accumulate also saves memory")
        longest = self.model.network()[1].max_length
        short = (
            f"--data.batch-size {tokens} in --run.accumulate {parts} parts is less than a sentence of {longest} tokens"
        )
        demand(tokens // parts >= longest, short, f"make it at least {longest * parts}")


@dataclass(frozen=True)
class ImageRecipe(Recipe):
    """Training of a network for images."""

    task: Task = field(default_factory=Supervised)
    model: Model = Model()
    data: Data = Data()
    augment: Augment = Augment()

    def __post_init__(self) -> None:
        super().__post_init__()
        demand(not isinstance(self.task, Translate), "the task is for text", "use a task for images")
        if not (isinstance(self.task, Segment) and self.task.backbone):  # a backbone replaces the trunk
            self._check_trunk()
        many = not self.data.grids or isinstance(self.task, Supervised | Distill)
        demand(many, f"--data.grids is for classification, and {self.name} is not", "leave it out")
        parts = self.run.accumulate
        demand(
            self.data.batch_size % parts == 0,
            f"--data.batch-size {self.data.batch_size} does not split into --run.accumulate {parts} parts",
            "make the batch a multiple of it",
        )
        if self.augment.mixup or self.augment.cutmix:
            demand(
                self.data.batch_size // parts % 2 == 0,
                f"mixup mixes pairs of images: the batch of {self.data.batch_size // parts} images has an odd number",
                "make --data.batch-size even, or set --augment.mixup 0 --augment.cutmix 0",
            )

    def _check_trunk(self) -> None:
        """Raise `UserError` for settings that the network does not support, if its name is known."""
        if self.model.known is None:
            return
        name, network = self.model.network()
        gray = network.in_chans == 3 and self.data.mean is not None and len(self.data.mean) == 1
        what = f"--data.mean {self.data.mean[0] if self.data.mean else 0:g} is for gray images, and {name} takes colors"
        demand(not gray, what, "give three values, or --model.in-chans 1")
        patch = network.patch_size
        for height, width in [(size[0], size[-1])] if (size := self.data.img_size) else []:
            if height % patch or width % patch:
                below, above = (
                    tuple(max(1, (s + up) // patch) * patch for s in (height, width)) for up in (0, patch - 1)
                )
                raise UserError(
                    f"--data.img-size {height}x{width} does not divide into patches of {patch} ({name})",
                    f"try {below[0]}x{below[1]} or {above[0]}x{above[1]}, or another --model.patch-size",
                )
        demand(
            not (self.run.checkpoint_activations and network.norm == "batchnorm"),
            "--run.checkpoint-activations would count BatchNorm's statistics twice",
            "leave one of them out",
        )
