"""All of a run in one value: images or text, what is learned of them, with which network, and how."""

from dataclasses import dataclass, field
from typing import Any

from tyro.conf import Suppress

from resmlp.config.data import Augment, Data
from resmlp.config.model import Model
from resmlp.config.tasks import Segment, Supervised, Task, Translate
from resmlp.config.text import Seq2Seq, Text
from resmlp.config.training import Optim, Run
from resmlp.utils.checks import demand
from resmlp.utils.errors import UserError


@dataclass(frozen=True)
class Recipe:
    """All of a run, and what the paper says of it; each kind of data has its own subclass."""

    name: Suppress[str]
    task: Task
    model: Any
    data: Any
    optim: Optim = Optim()
    run: Run = Run()
    about: Suppress[str] = ""
    """what it trains, in a line"""
    paper: Suppress[str] = ""
    """where it stands in the paper"""
    expected: Suppress[tuple[tuple[str, float], ...]] = ()
    """what it must reach, as (metric, value)"""

    def __post_init__(self):
        demand(self.name.replace("-", "").isalnum(), f"a recipe cannot be called {self.name!r}", "letters, digits, -")


@dataclass(frozen=True)
class TextRecipe(Recipe):
    """A network that translates."""

    task: Task = field(default_factory=Translate)
    model: Seq2Seq = Seq2Seq()
    data: Text = Text()

    def __post_init__(self):
        super().__post_init__()
        demand(isinstance(self.task, Translate), "the task is none for text", "translate is")
        parts, tokens = self.run.accumulate, self.data.batch_size
        many = f"--run.checkpoint-activations is for images: a network of {self.model.name} has no such switch"
        demand(not self.run.checkpoint_activations, many, "leave it out; --run.accumulate saves memory as well")
        longest = self.model.network()[1].max_length
        short = f"--data.batch-size {tokens} over --run.accumulate {parts} holds less than a sentence of {longest}"
        demand(tokens // parts >= longest, short, f"make it {longest * parts} tokens at least")


@dataclass(frozen=True)
class ImageRecipe(Recipe):
    """A network that sees."""

    task: Task = field(default_factory=Supervised)
    model: Model = Model()
    data: Data = Data()
    augment: Augment = Augment()

    def __post_init__(self):
        super().__post_init__()
        demand(not isinstance(self.task, Translate), "the task is one for text", "images are not translated")
        if not (isinstance(self.task, Segment) and self.task.backbone):  # which takes the trunk's place
            self._check_trunk()
        parts = self.run.accumulate
        demand(
            self.data.batch_size % parts == 0,
            f"--data.batch-size {self.data.batch_size} does not split into --run.accumulate {parts} parts",
            "make the batch a multiple of it",
        )
        if self.augment.mixup or self.augment.cutmix:
            demand(
                self.data.batch_size // parts % 2 == 0,
                f"mixup pairs up the images of a batch, and {self.data.batch_size // parts} is odd",
                "make --data.batch-size even, or set --augment.mixup 0 --augment.cutmix 0",
            )

    def _check_trunk(self) -> None:
        """Refuse what the network cannot do. What only the checkpoint knows is checked when `train` has read it."""
        if self.model.known is None:
            return
        name, network = self.model.network()
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
            "leave one of the two",
        )
