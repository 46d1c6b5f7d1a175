"""Settings of evaluations and of probes on frozen features."""

from dataclasses import dataclass
from typing import Annotated, Literal

from resmlp.config.help import MANY
from resmlp.config.label_table import check_columns
from resmlp.config.preprocessing import Exif
from resmlp.utils.address import check_address
from resmlp.utils.checks import ANY, POSITIVE, check_choices, check_range, demand

WeightKind = Literal["best", "raw", "ema", "avg"]


@dataclass(frozen=True)
class EvalData:
    """The data to evaluate on; default: the validation set of the run."""

    root: str | None = None
    """an ImageFolder tree or archive, or a packed data set, also at an address (https://, s3://): its val/ (or test/),
    otherwise all images; for a translator, a folder of text files or a table; for a segmenter, a folder with images/
    and labels/"""
    labels: str | None = None
    """a table of labels for the images below `root` (docs/data.md), in place of class folders; its rows of val (or
    test), otherwise all rows"""
    columns: Annotated[tuple[str, ...], MANY] = ()
    """other names of its columns: file=image label=diagnosis; label=A,B,C for columns of 0 and 1, one for each class"""
    val: str | None = None
    """for a translator: NAME of the files, for example NAME.en and NAME.de, or the split of a table; default: the
    validation files of the run"""
    split: str | None = None
    """for a segmenter, or a table of labels: the split of the data, for example test; default: the run's validation
    split, or val"""
    batch_size: int = 64
    workers: int = 2
    crop_ratio: Annotated[tuple[float, ...], MANY] = ()
    """evaluation crops in place of the model's own; one result for each"""
    exif: Exif | None = None
    """EXIF orientation of the images. apply: turn them upright; ignore: read them as they are stored; default: as in
    training"""
    strict: bool = False
    """stop at an unreadable image; by default it is reported and left out"""

    def __post_init__(self) -> None:
        check_address(self.root)
        check_choices("--data.", self)
        check_columns(self.labels, self.columns)
        check_range("--data.", self, batch_size=(1, ANY), workers=(0, ANY), crop_ratio=(POSITIVE, 1))


@dataclass(frozen=True)
class Knn:
    """Settings of k-NN classification."""

    k: Annotated[tuple[int, ...], MANY] = ()
    """numbers of nearest neighbors; default: those of 10 20 100 200 that the training images allow"""
    temperature: float = 0.07
    """a neighbor's vote has the weight exp(cosine similarity / temperature)"""

    def __post_init__(self) -> None:
        check_range("--knn.", self, k=(1, ANY), temperature=(0.001, ANY))


@dataclass(frozen=True)
class Linear:
    """Settings of the linear probe: a grid of linear classifiers on frozen features."""

    lr: tuple[float, ...] = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3)
    """learning rates"""
    layers: Annotated[tuple[int, ...], MANY] = ()
    """numbers of last layers whose features are concatenated; default: those of 1 4 that the network has"""
    epochs: int = 100
    """epochs; each image is mirrored at random"""
    batch_size: int = 256
    seed: int = 0

    def __post_init__(self) -> None:
        demand(bool(self.lr), "--linear.lr has no value", "give one or more")
        check_range("--linear.", self, lr=(POSITIVE, ANY), layers=(1, ANY), seed=(0, 2**63 - 1))
        check_range("--linear.", self, epochs=(1, ANY), batch_size=(1, ANY))
