"""Images: where they come from, how one becomes the network's input, and what training does to them."""

from dataclasses import dataclass, replace
from typing import Literal

from resmlp.config.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Channels, Interpolation, Preprocessing
from resmlp.utils.checks import ANY, BELOW_ONE, POSITIVE, check_choices, check_range, demand


@dataclass(frozen=True)
class Data:
    """Where the images come from, and how one becomes the network's input."""

    source: str = "folder"
    """folder (ImageFolder tree or archives of one), digits (embedded), or a published set, as packed or as
    a tree: cifar10, cifar100, flowers, cars, inat18, inat19; for segmentation masks, camvid, ade20k (images/ beside
    labels/ or annotations/), scenes (embedded)"""
    root: str | None = None
    """folder or .tar / .tar.gz: train/ and val/ (or test/) with a sub-folder a class, or one such tree to be split"""
    img_size: tuple[int, ...] | None = (224,)
    """height and width in pixels, or one number for a square; here and in the four below, None: as the checkpoint's"""
    batch_size: int = 256
    """images in one optimizer step, over all processes and accumulated parts"""
    workers: int = 2
    """loader processes for each training process"""
    val_fraction: float = 0.2
    """share held out where the data has no val/ or test/ of its own"""
    split_seed: int = 0
    """the held-out share is a function of this seed alone"""
    fraction: float = 1.0
    """share of the training images of each class that is learned from (the same ones for the same --data.split-seed),
    one at least; what is held out stays whole"""
    crop_ratio: float | None = 0.9
    """evaluation: resize the shorter side to img_size / crop_ratio, then crop the center (authors 0.9, timm 0.875)"""
    interpolation: Interpolation | None = "bicubic"
    mean: Channels | None = IMAGENET_MEAN
    """subtracted from the channels, of pixels in [0, 1]"""
    std: Channels | None = IMAGENET_STD
    """divides the channels after the mean"""
    strict: bool = False
    """stop at an image that cannot be read, instead of naming, counting and replacing it"""

    def __post_init__(self):
        sides = self.img_size or (1,)
        demand(
            self.img_size != () and len(sides) in (1, 2) and min(sides) > 0,
            f"--data.img-size {' '.join(map(str, sides))}",
            "give one positive number, or height and width",
        )
        check_choices("--data.", self)
        check_range("--data.", self, batch_size=(1, ANY), workers=(0, ANY), split_seed=(0, ANY))
        check_range("--data.", self, val_fraction=(POSITIVE, BELOW_ONE), crop_ratio=(POSITIVE, 1), std=(POSITIVE, ANY))
        check_range("--data.", self, mean=(-ANY, ANY), fraction=(POSITIVE, 1))

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)"""
        return self.preprocessing().size

    def preprocessing(self, checkpoint: Preprocessing = Preprocessing((224, 224))) -> Preprocessing:  # noqa: B008
        """What an image goes through before the network, stored beside the weights; what is None is `checkpoint`'s."""
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
    """What training does to the images: crop and policy for each one, mixing and erasing on the batch."""

    crop: Literal["resized", "pad", "center"] = "resized"
    """resized: random area and aspect; pad: shift by up to an eighth of the side; center: as in evaluation"""
    scale: tuple[float, float] = (0.08, 1.0)
    """share of the image's area that a resized crop takes"""
    flip: float = 0.5
    """probability of a horizontal flip"""
    policy: Literal["rand", "three", "none"] = "none"
    """rand: timm's RandAugment as `magnitudes` says; three: 3-Augment of DeiT III (gray, solarize or blur; jitter)"""
    magnitudes: str = "rand-m9-n2-mstd0.5-inc1"
    """timm's RandAugment string"""
    jitter: float = 0.0
    """color jitter strength"""
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
    """repeated augmentation: views of an image in an epoch (of a third as many images for 3)"""

    def __post_init__(self):
        check_choices("--augment.", self)
        probability = (0, 1)
        check_range("--augment.", self, flip=probability, mix_prob=probability, switch_prob=probability)
        check_range("--augment.", self, erasing=probability, scale=(POSITIVE, 1), repeats=(1, ANY))
        check_range("--augment.", self, mixup=(0, ANY), cutmix=(0, ANY), jitter=(0, ANY))
        low, high = self.scale
        demand(low <= high, f"--augment.scale {low} {high}", "the smaller share first")
