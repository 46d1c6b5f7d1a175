"""What to evaluate on, and how frozen features are probed. Loads no torch."""

from dataclasses import dataclass
from typing import Literal

from resmlp.utils.checks import ANY, POSITIVE, check_range, demand

WeightKind = Literal["best", "raw", "ema", "avg"]


@dataclass(frozen=True)
class EvalData:
    """What to evaluate on; for a run folder, by default what that run held out."""

    root: str | None = None
    """an ImageFolder tree or archive: its val/ (or test/), else all of it; a folder of text, for a translator; of
    images/ and labels/, for a segmenter"""
    val: str | None = None
    """for a translator: NAME of the files NAME.en and NAME.de, say; default those that the run held out"""
    split: str | None = None
    """for a segmenter: the part of the data, such as CamVid's test; default that which the run held out, or val"""
    batch_size: int = 64
    workers: int = 2
    crop_ratio: tuple[float, ...] = ()
    """other evaluation crops than the model's own; several give a result for each"""
    strict: bool = False
    """stop at an image that cannot be read, instead of naming it and leaving it out"""

    def __post_init__(self):
        check_range("--data.", self, batch_size=(1, ANY), workers=(0, ANY), crop_ratio=(POSITIVE, 1))


@dataclass(frozen=True)
class Knn:
    """The nearest neighbors that vote."""

    k: tuple[int, ...] = ()
    """how many; default 10 20 100 200, as far as there are so many training images"""
    temperature: float = 0.07
    """a vote counts exp(cosine / temperature)"""

    def __post_init__(self):
        check_range("--knn.", self, k=(1, ANY), temperature=(0.001, ANY))


@dataclass(frozen=True)
class Linear:
    """The grid of linear classifiers."""

    lr: tuple[float, ...] = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3)
    """learning rates"""
    layers: tuple[int, ...] = ()
    """of how many of the last layers it sees the features; default 1 4, as far as the network has them"""
    epochs: int = 100
    """times that it sees each training image, or its mirror image"""
    batch_size: int = 256
    seed: int = 0

    def __post_init__(self):
        demand(bool(self.lr), "--linear.lr names nothing", "give one or more")
        check_range("--linear.", self, lr=(POSITIVE, ANY), layers=(1, ANY), seed=(0, 2**63 - 1))
        check_range("--linear.", self, epochs=(1, ANY), batch_size=(1, ANY))
