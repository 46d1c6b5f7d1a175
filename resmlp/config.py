"""What a run is: frozen dataclasses, checked once when they are made, in the words the user typed.

Every field is a flag of the command line (`--data.batch-size 64`) and a key of `recipe.json`; the text under a field is
its help. This module loads nothing heavy.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from tyro.conf import Suppress

from resmlp.checks import ANY, BELOW_ONE, POSITIVE, check_choices, check_range, demand
from resmlp.errors import UserError
from resmlp.network import FROM_CHECKPOINT, Model
from resmlp.objectives import Supervised, Task
from resmlp.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Channels, Interpolation, Preprocessing
from resmlp.sources import card_of


@dataclass(frozen=True)
class Data:
    """Where the pictures come from, and how one becomes the network's input."""

    source: str = "folder"
    """folder (ImageFolder tree or archives of one), digits (embedded), or a published set, as packed or as
    a tree: cifar10, cifar100, flowers, cars, inat18, inat19"""
    root: str | None = None
    """folder or .tar / .tar.gz: train/ and val/ (or test/) with a sub-folder a class, or one such tree to be split"""
    img_size: tuple[int, ...] | None = (224,)
    """height and width in pixels, or one number for a square; here and in the four below, None: as the checkpoint's"""
    batch_size: int = 256
    """pictures in one optimiser step, over all processes and accumulated parts"""
    workers: int = 2
    """loader processes for each training process"""
    val_fraction: float = 0.2
    """share held out where the data has no val/ or test/ of its own"""
    split_seed: int = 0
    """the held-out share is a function of this seed alone"""
    crop_ratio: float | None = 0.9
    """evaluation: resize the shorter side to img_size / crop_ratio, then crop the centre (authors 0.9, timm 0.875)"""
    interpolation: Interpolation | None = "bicubic"
    mean: Channels | None = IMAGENET_MEAN
    """subtracted from the channels, of pixels in [0, 1]"""
    std: Channels | None = IMAGENET_STD
    """divides the channels after the mean"""
    strict: bool = False
    """stop at a picture that cannot be read, instead of naming, counting and replacing it"""

    def __post_init__(self):
        sides = self.img_size or (1,)
        demand(
            self.img_size != () and len(sides) in (1, 2) and min(sides) > 0,
            f"--data.img-size {' '.join(map(str, sides))}",
            "give one positive number, or height and width",
        )
        if self.root is not None:  # absolute, so that a run finds its data from wherever it is continued or evaluated
            object.__setattr__(self, "root", str(Path(self.root).expanduser().absolute()))
        check_choices("--data.", self)
        check_range("--data.", self, batch_size=(1, ANY), workers=(0, ANY), split_seed=(0, ANY))
        check_range("--data.", self, val_fraction=(POSITIVE, BELOW_ONE), crop_ratio=(POSITIVE, 1), std=(POSITIVE, ANY))
        check_range("--data.", self, mean=(-ANY, ANY))

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)"""
        return self.preprocessing().size

    def preprocessing(self, checkpoint: Preprocessing = Preprocessing((224, 224))) -> Preprocessing:  # noqa: B008
        """What a picture goes through before the network, stored beside the weights; what is None is `checkpoint`'s."""
        own = {key: value for key in INHERITED if (value := getattr(self, key)) is not None}
        size = own.pop("img_size", checkpoint.size)
        return replace(checkpoint, size=(size[0], size[-1]), **own)

    def completed(self, checkpoint: Preprocessing) -> "Data":
        """The same with nothing left at None."""
        p = self.preprocessing(checkpoint)
        side = p.size[: 1 + (p.size[0] != p.size[1])]
        return replace(
            self, img_size=side, crop_ratio=p.crop_ratio, interpolation=p.interpolation, mean=p.mean, std=p.std
        )


INHERITED = ("img_size", "crop_ratio", "interpolation", "mean", "std")
"""fields of `Data` that may be the checkpoint's"""


@dataclass(frozen=True)
class Augment:
    """What training does to the pictures: crop and policy for each one, mixing and erasing on the batch."""

    crop: Literal["resized", "pad", "centre"] = "resized"
    """resized: random area and aspect; pad: shift by up to an eighth of the side; centre: as in evaluation"""
    scale: tuple[float, float] = (0.08, 1.0)
    """share of the picture's area that a resized crop takes"""
    flip: float = 0.5
    """probability of a horizontal flip"""
    policy: Literal["rand", "three", "none"] = "none"
    """rand: timm's RandAugment as `magnitudes` says; three: 3-Augment of DeiT III (grey, solarise or blur; jitter)"""
    magnitudes: str = "rand-m9-n2-mstd0.5-inc1"
    """timm's RandAugment string"""
    jitter: float = 0.0
    """colour jitter strength"""
    mixup: float = 0.0
    """alpha of mixup; 0 is off"""
    cutmix: float = 0.0
    """alpha of CutMix; 0 is off"""
    mix_prob: float = 1.0
    """share of batches that are mixed"""
    switch_prob: float = 0.5
    """share of mixed batches that take CutMix where both are on"""
    erasing: float = 0.0
    """probability of random erasing, a rectangle of noise"""
    repeats: int = 1
    """repeated augmentation: views of a picture in an epoch (of a third as many pictures for 3)"""

    def __post_init__(self):
        check_choices("--augment.", self)
        probability = (0, 1)
        check_range("--augment.", self, flip=probability, mix_prob=probability, switch_prob=probability)
        check_range("--augment.", self, erasing=probability, scale=(POSITIVE, 1), repeats=(1, ANY))
        check_range("--augment.", self, mixup=(0, ANY), cutmix=(0, ANY), jitter=(0, ANY))
        low, high = self.scale
        demand(low <= high, f"--augment.scale {low} {high}", "the smaller share first")


@dataclass(frozen=True)
class Optim:
    """Optimiser and schedule; both are functions of the step."""

    name: Literal["lamb", "adamw", "sgd"] = "lamb"
    lr: float = 5e-3
    """peak learning rate, as it is: never rescaled by the batch"""
    weight_decay: float = 0.2
    """for the weights of linear and convolution layers alone"""
    final_weight_decay: float | None = None
    """end of a cosine of the weight decay over the whole run; None: it stays as it is"""
    momentum: float = 0.9
    """of SGD; beta1 of LAMB and AdamW"""
    beta2: float = 0.999
    schedule: Literal["cosine", "step"] = "cosine"
    milestones: tuple[int, ...] = (30, 60, 80)
    """step schedule: epochs at which the rate is divided by 10"""
    warmup_epochs: float = 5
    warmup_lr: float = 1e-6
    min_lr: float = 1e-5
    """end of the cosine"""
    clip: float | None = None
    """largest gradient norm"""
    layer_decay: float = 1.0
    """each layer learns at this share of the next one's rate, the head at the full rate (0.65 to 0.9 to fine-tune)"""
    freeze_epochs: int = 0
    """first epochs in which the head alone learns"""

    def __post_init__(self):
        check_choices("--optim.", self)
        check_range("--optim.", self, lr=(POSITIVE, ANY), weight_decay=(0, ANY), clip=(POSITIVE, ANY))
        check_range("--optim.", self, momentum=(0, BELOW_ONE), beta2=(0, BELOW_ONE))
        check_range("--optim.", self, warmup_epochs=(0, ANY), warmup_lr=(0, ANY), min_lr=(0, ANY))
        check_range("--optim.", self, layer_decay=(POSITIVE, 1), freeze_epochs=(0, ANY))
        check_range("--optim.", self, final_weight_decay=(0, ANY))


@dataclass(frozen=True)
class Run:
    """How long, where, and what is written down."""

    epochs: int = 400
    seed: int = 0
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    precision: Literal["fp32", "bf16"] = "fp32"
    accumulate: int = 1
    """parts that an optimiser step's batch is split into"""
    ema: float | None = None
    """decay of an average of the weights, evaluated beside them"""
    compile: bool = False
    """torch.compile the network"""
    checkpoint_activations: bool = False
    """recompute each layer in the backward pass instead of keeping its activations"""
    eval_every: int = 1
    """epochs between evaluations; the last epoch is always evaluated"""
    save_minutes: float = 10
    """minutes between checkpoints inside an epoch; each evaluated epoch is saved as well"""
    log_every: int = 50
    """optimiser steps between lines of metrics.jsonl"""
    tensorboard: bool = True
    wandb: bool = False
    """also log to Weights & Biases, where it is installed"""

    def __post_init__(self):
        check_choices("--run.", self)
        check_range("--run.", self, epochs=(1, ANY), accumulate=(1, ANY), eval_every=(1, ANY), log_every=(1, ANY))
        check_range("--run.", self, seed=(0, ANY), save_minutes=(0, ANY), ema=(POSITIVE, BELOW_ONE))


@dataclass(frozen=True)
class Recipe:
    """All of a run, and what the paper says of it."""

    name: Suppress[str]
    task: Task = field(default_factory=Supervised)
    model: Model = Model()
    data: Data = Data()
    augment: Augment = Augment()
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
        if self.model.name == FROM_CHECKPOINT and self.model.checkpoint is None:
            return  # what depends on the network is checked when there is one
        name, network = self.model.network()
        if None in [getattr(self.data, key) for key in INHERITED]:  # so that recipe.json says what was meant
            card = card_of(self.model.checkpoint) if self.model.checkpoint else None
            seen = card.preprocessing if card else Preprocessing((224, 224))
            object.__setattr__(self, "data", self.data.completed(seen))
        patch, (height, width) = network.patch_size, self.data.size
        if height % patch or width % patch:
            below, above = (tuple(max(1, (s + up) // patch) * patch for s in (height, width)) for up in (0, patch - 1))
            raise UserError(
                f"--data.img-size {height}x{width} does not divide into patches of {patch} ({name})",
                f"try {below[0]}x{below[1]} or {above[0]}x{above[1]}, or another --model.patch-size",
            )
        parts = self.run.accumulate
        demand(
            not (self.run.checkpoint_activations and network.norm == "batchnorm"),
            "--run.checkpoint-activations would count BatchNorm's statistics twice",
            "leave one of the two",
        )
        demand(
            self.data.batch_size % parts == 0,
            f"--data.batch-size {self.data.batch_size} does not split into --run.accumulate {parts} parts",
            "make the batch a multiple of it",
        )
        if self.augment.mixup or self.augment.cutmix:
            demand(
                self.data.batch_size // parts % 2 == 0,
                f"mixup pairs up the pictures of a batch, and {self.data.batch_size // parts} is odd",
                "make --data.batch-size even, or set --augment.mixup 0 --augment.cutmix 0",
            )
