"""Settings of images: their source, their preprocessing, and their augmentation in training."""

from dataclasses import dataclass, replace
from typing import Literal

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
from resmlp.utils.checks import ANY, BELOW_ONE, POSITIVE, check_choices, check_range, demand


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
    or one such tree to split"""
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
    """seed of the split into training and validation set"""
    fraction: float = 1.0
    """fraction of the training images of each class to train on, at least one image; the same images for the same
    --data.split-seed. The validation set stays complete"""
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
    strict: bool = False
    """stop at an unreadable image; by default it is reported, counted and replaced by another image"""

    def __post_init__(self) -> None:
        sides = self.img_size or (1,)
        demand(
            self.img_size != () and len(sides) in (1, 2) and min(sides) > 0,
            f"--data.img-size {' '.join(map(str, sides))}",
            "give one positive number, or height and width",
        )
        check_choices("--data.", self)
        check_range("--data.", self, batch_size=(1, ANY), workers=(0, ANY), split_seed=(0, ANY))
        check_range("--data.", self, val_fraction=(POSITIVE, BELOW_ONE), crop_ratio=(POSITIVE, 1), std=(POSITIVE, ANY))
        check_range("--data.", self, mean=(-ANY, ANY), fraction=(POSITIVE, 1), value_range=(-ANY, ANY))
        check_value_range(self.value_range)
        check_channels(self.mean or self.std or IMAGENET_MEAN, self.std or self.mean or IMAGENET_STD)

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
