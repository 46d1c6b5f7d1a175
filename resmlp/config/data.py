"""Settings of images: their source, their preprocessing, and their augmentation in training."""

import re
from dataclasses import dataclass, replace
from typing import Annotated, Literal

from resmlp.config.help import MANY
from resmlp.config.label_table import check_columns
from resmlp.config.preprocessing import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Channels,
    Decoding,
    Exif,
    Interpolation,
    Preprocessing,
    ValueRange,
    as_channels,
    check_channels,
    check_value_range,
)
from resmlp.utils.address import check_address
from resmlp.utils.checks import ANY, BELOW_ONE, POSITIVE, check_choices, check_range, demand
from resmlp.utils.errors import UserError

GridOrder = Literal["random", "rising"]
MAX_GRID = 1024
"""tokens of a side"""


@dataclass(frozen=True)
class Data:
    """The source of the images, and their preprocessing."""

    source: str = "folder"
    """folder (ImageFolder tree, archives or Parquet), digits (embedded), or a published data set, packed or as a tree:
    cifar10, cifar100, flowers, cars, inat18, inat19, mnist, fashionmnist, emnist (balanced; or emnist-letters, ...),
    svhn, stl10; for segmentation: masks, camvid, ade20k (images/ and labels/ or
    annotations/), scenes (embedded)"""
    root: str | None = None
    """folder, archive (.zip, .tar, .tar.gz ...) or Parquet: train/ and val/ (or test/) with one sub-folder per class,
    or one such tree to split; or a packed data set, also at an address: https://host/folder, s3://bucket/folder"""
    img_size: tuple[int, ...] | None = (224,)
    """height and width in pixels, or one number for a square; None: the checkpoint's value, as for --data.crop-ratio,
    --data.interpolation, --data.mean and --data.std"""
    batch_size: int = 256
    """images per optimizer step, over all processes and accumulated parts; if the training set has fewer images, the
    largest batch that fits, with the learning rate scaled in proportion"""
    workers: int = 2
    """loader processes per training process"""
    val_fraction: float = 0.2
    """fraction of the images for the validation set, if the data has no val/ or test/"""
    split_seed: int = 0
    """seed of the split into training and validation set, or into folds"""
    group_by: str | None = None
    """regular expression: what its first group matches in an image's path is the group of the image, such as a video;
    all images of a group are on one side of every split"""
    folds: int = 0
    """cross-validation: folds into which the training images are divided, each of them once the validation set; 0:
    none. Without --data.fold, resmlp train runs all of them, into OUT/fold-0 and so on"""
    fold: int | None = None
    """number of the fold that is the validation set of this run, from 0"""
    fraction: float = 1.0
    """fraction of the training images of each class to train on, at least one image; the same images for the same
    --data.split-seed. The validation set stays complete"""
    resample: float | None = None
    """training: an image of an epoch is of a class with a probability proportional to (frequency of the class) **
    (1 - resample); 1: all classes are equally probable; None: each image occurs once in an epoch"""
    labels: str | None = None
    """a .csv, .tsv, .jsonl or .parquet with the columns file (a path below --data.root) and label, in place of class
    folders; and if they are there split, group (never on two sides of a split) and weight (of the image in the loss)"""
    columns: Annotated[tuple[str, ...], MANY] = ()
    """other names of its columns: file=image label=diagnosis; label=A,B,C for columns of 0 and 1, one for each class"""
    crop_ratio: float | None = 0.9
    """evaluation: resize the shorter side to img_size / crop_ratio, then crop the center (authors 0.9, timm 0.875)"""
    interpolation: Interpolation | None = "bicubic"
    mean: Channels | None = IMAGENET_MEAN
    """mean of each channel, for pixels in [0, 1]: it is subtracted; with --model.in-chans 1 a single value, or three
    of which the mean is taken"""
    std: Channels | None = IMAGENET_STD
    """standard deviation of each channel: it divides after the mean is subtracted"""
    exif: Exif = "apply"
    """orientation that a camera wrote into an image. apply: turn the image upright; ignore: read it as it is stored.
    Masks are always read as they are stored. The model keeps the choice for evaluation and prediction"""
    value_range: ValueRange | None = None
    """values that become black and white, of images with over 8 bits per channel: 0 4095 for 12 bits in 16-bit files;
    None: 0 65535. The model keeps it"""
    grids: Annotated[tuple[str, ...], MANY] = ()
    """training on several image sizes with one network: the tokens of a side, or HxW, as in 8 10 12x16; each batch is
    resized to one of them. The network keeps --data.img-size, at which it is evaluated"""
    grid_order: GridOrder = "random"
    """random: the grid of a batch is drawn by its step; rising: the grids one after the other, in their order, each for
    an equal part of the training: small ones first make it faster"""
    strict: bool = False
    """stop at an unreadable image; by default it is reported, counted and replaced by another image"""

    def __post_init__(self) -> None:
        check_address(self.root)
        sides = self.img_size or (1,)
        demand(
            self.img_size != () and len(sides) in (1, 2) and min(sides) > 0,
            f"--data.img-size {' '.join(map(str, sides))}",
            "give one positive number, or height and width",
        )
        check_choices("--data.", self)
        check_range("--data.", self, batch_size=(1, ANY), workers=(0, ANY), split_seed=(0, ANY))
        check_range("--data.", self, val_fraction=(POSITIVE, BELOW_ONE), crop_ratio=(POSITIVE, 1), std=(POSITIVE, ANY))
        check_range(
            "--data.", self, mean=(-ANY, ANY), fraction=(POSITIVE, 1), resample=(POSITIVE, 1), value_range=(-ANY, ANY)
        )
        check_value_range(self.value_range)
        check_channels(self.mean or self.std or IMAGENET_MEAN, self.std or self.mean or IMAGENET_STD)
        check_columns(self.labels, self.columns)
        own = f"--data.labels is for --data.source folder, not {self.source}"
        demand(self.labels is None or self.source == "folder", own, "add --data.source folder, or leave it out")
        for grid in self.grids:
            given = all(side.isdecimal() and 0 < int(side) <= MAX_GRID for side in grid.split("x"))
            demand(
                given and grid.count("x") < 2, f"--data.grids {grid}", "give tokens of a side, or rows x columns: 8x10"
            )
        self._check_division()

    def _check_division(self) -> None:
        """Raise `UserError` for folds that do not exist and for a wrong regular expression."""
        check_range("--data.", self, folds=(0, ANY), fold=(0, ANY))
        demand(self.folds != 1, "--data.folds 1", "2 or more, or 0 for a single validation set")
        what = f"--data.fold {self.fold} is not one of --data.folds {self.folds}"
        hint = f"give 0 to {self.folds - 1}" if self.folds else "give --data.folds as well"
        demand(self.fold is None or self.fold < self.folds, what, hint)
        demand(self.group_by != "", "--data.group-by is empty", "give a regular expression, or leave it out")
        try:
            re.compile(self.group_by or "")
        except (re.error, OverflowError, RecursionError) as error:
            hint = "give a regular expression, such as '(video[0-9]+)'"
            raise UserError(f"--data.group-by {self.group_by}: {error}", hint) from None

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """The grids, as (rows, columns)."""
        sides = [[int(side) for side in grid.split("x")] for grid in self.grids]
        return [(side[0], side[-1]) for side in sides]

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)"""
        return self.preprocessing().size

    def preprocessing(self, checkpoint: Preprocessing = Preprocessing((224, 224))) -> Preprocessing:  # noqa: B008
        """The preprocessing of an image; a field that is None takes the value of `checkpoint`."""
        own = {key: value for key in INHERITED if (value := getattr(self, key)) is not None}
        size = own.pop("img_size", checkpoint.size)
        fixed = {"exif": self.exif, "value_range": self.value_range}  # they are properties of the files
        return replace(checkpoint, size=(size[0], size[-1]), **own, **fixed)  # type: ignore[arg-type]

    @property
    def decoding(self) -> Decoding:
        """How an image file is decoded."""
        return Decoding(self.exif, self.value_range)

    def completed(self, checkpoint: Preprocessing) -> "Data":
        """The same settings, with the values of `checkpoint` in place of None."""
        p = self.preprocessing(checkpoint)
        side = p.size[: 1 + (p.size[0] != p.size[1])]
        return replace(
            self, img_size=side, crop_ratio=p.crop_ratio, interpolation=p.interpolation, mean=p.mean, std=p.std
        )

    def for_channels(self, channels: int) -> "Data":
        """The same settings for a network with 1 or 3 channels (`Preprocessing.for_channels`)."""
        if not self.mean or not self.std or len(self.mean) == channels:
            return self
        return replace(self, mean=as_channels(self.mean, channels), std=as_channels(self.std, channels))


INHERITED = ("img_size", "crop_ratio", "interpolation", "mean", "std")
"""fields of `Data` that may come from the checkpoint"""


@dataclass(frozen=True)
class Augment:
    """Augmentation in training: crop and policy for each image, mixing and erasing for the batch."""

    crop: Literal["resized", "pad", "center"] = "resized"
    """resized: random area and aspect ratio; pad: shift by up to an eighth of the side; center: as in evaluation"""
    scale: tuple[float, float] = (0.08, 1.0)
    """smallest and largest fraction of the image's area in a resized crop"""
    flip: float = 0.5
    """probability of a horizontal flip"""
    policy: Literal["rand", "three", "none"] = "none"
    """rand: timm's RandAugment with --augment.magnitudes; three: 3-Augment of DeiT III (gray, solarize or blur)"""
    magnitudes: str = "rand-m9-n2-mstd0.5-inc1"
    """configuration string of timm's RandAugment"""
    jitter: float = 0.0
    """strength of the color jitter; 0: none"""
    mixup: float = 0.0
    """alpha of mixup; 0: none"""
    cutmix: float = 0.0
    """alpha of CutMix; 0: none"""
    mix_prob: float = 1.0
    """probability that a batch is mixed"""
    switch_prob: float = 0.5
    """probability of CutMix in a mixed batch, if mixup and CutMix are both on"""
    erasing: float = 0.0
    """probability of random erasing: noise replaces a rectangle"""
    repeats: int = 1
    """repeated augmentation: views of an image per epoch; with 3, an epoch has a third of the images"""

    def __post_init__(self) -> None:
        check_choices("--augment.", self)
        probability = (0, 1)
        check_range("--augment.", self, flip=probability, mix_prob=probability, switch_prob=probability)
        check_range("--augment.", self, erasing=probability, scale=(POSITIVE, 1), repeats=(1, ANY))
        check_range("--augment.", self, mixup=(0, ANY), cutmix=(0, ANY), jitter=(0, ANY))
        low, high = self.scale
        demand(low <= high, f"--augment.scale {low} {high}", "give the smaller fraction first")
