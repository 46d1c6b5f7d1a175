"""Published weights: their source, preprocessing, license and published accuracy.

Accuracies on ImageNet-1k are from the paper (Table 3, with ReaL and V2), with the authors' crop of 0.9. Those of S36
are from the authors' repository (facebookresearch/deit, README_resmlp.md), those of Mixer from timm's measurements
(huggingface/pytorch-image-models, results/results-imagenet.csv). The hub has all weights as converted by timm.
"""

from dataclasses import dataclass, replace
from typing import Any

from resmlp.config.preprocessing import Preprocessing
from resmlp.config.vision import ALIASES, ARCHITECTURES, TIMM_NAMES, canonical
from resmlp.utils.errors import lookup


@dataclass(frozen=True)
class Published:
    """One set of weights."""

    model: str
    """a key of `ARCHITECTURES`"""
    tag: str
    """timm's tag: who trained the weights, on which data"""
    source: str
    """URL of the original file"""
    top1: float | None = None
    """top-1 accuracy on the validation set of ImageNet-1k; None if it was not published"""
    real: float | None = None
    """top-1 accuracy on ImageNet ReaL"""
    v2: float | None = None
    """top-1 accuracy on ImageNet-V2"""
    num_classes: int = 1000
    """0: no usable classifier"""
    vocabulary: str = "imagenet-1k"
    """the list of classes, by its name in `timm.data.ImageNetInfo`; empty if unknown"""
    preprocessing: Preprocessing = Preprocessing((224, 224))
    license: str = "apache-2.0"

    @property
    def parameters(self) -> int:
        """Number of parameters, including the classifier."""
        return TRUNKS[self.model] + self.num_classes * (ARCHITECTURES[self.model].dim + 1)

    @property
    def name(self) -> str:
        """`resmlp_s12.fb_in1k`"""
        return f"{self.model}.{self.tag}"

    @property
    def repo(self) -> str:
        """The repository on the hub."""
        return f"timm/{TIMM_NAMES[self.model]}.{self.tag}"


TRUNKS = {
    "resmlp_s12": 14_965_872,
    "resmlp_s24": 29_635_680,
    "resmlp_s36": 44_305_488,
    "resmlp_b24_p8": 128_369_280,
    "mixer_b16": 59_111_472,
    "mixer_l16": 207_171_168,
}
"""parameters without a classifier"""

AUTHORS = "https://dl.fbaipublicfiles.com/deit/"
GOOGLE = "https://storage.googleapis.com/mixer_models/"
MIIL = "https://github.com/Alibaba-MIIL/ImageNet21K"

MIXER_GOOGLE = Preprocessing((224, 224), 0.875, "bicubic", (0.5,) * 3, (0.5,) * 3)
MIXER_MIIL = Preprocessing((224, 224), 0.875, "bilinear", (0.0,) * 3, (1.0,) * 3)


def _resmlp(
    model: str,
    tag: str,
    file: str,
    top1: float | None = None,
    real: float | None = None,
    v2: float | None = None,
    **others: Any,
) -> Published:
    return Published(model, tag, AUTHORS + file, top1, real, v2, **others)


def _google(model: str, letter: str, top1: float) -> list[Published]:
    tuned = Published(
        model,
        "goog_in21k_ft_in1k",
        f"{GOOGLE}imagenet1k/Mixer-{letter}_16.npz",
        top1,
        preprocessing=MIXER_GOOGLE,
    )
    whole = f"{GOOGLE}imagenet21k/Mixer-{letter}_16.npz"
    wide = replace(tuned, tag="goog_in21k", source=whole, top1=None, num_classes=21843, vocabulary="imagenet-21k-goog")
    return [tuned, wide]


_MIIL = Published("mixer_b16", "miil_in21k_ft_in1k", MIIL, 0.82306, preprocessing=MIXER_MIIL)

_ALL = [
    _resmlp("resmlp_s12", "fb_in1k", "resmlp_12_no_dist.pth", 0.766, 0.833, 0.644),
    _resmlp("resmlp_s12", "fb_distilled_in1k", "resmlp_12_dist.pth", 0.778, 0.846, 0.660),
    _resmlp("resmlp_s12", "fb_dino", "resmlp_12_dino.pth", num_classes=0, vocabulary=""),
    _resmlp("resmlp_s24", "fb_in1k", "resmlp_24_no_dist.pth", 0.794, 0.853, 0.679),
    _resmlp("resmlp_s24", "fb_distilled_in1k", "resmlp_24_dist.pth", 0.808, 0.866, 0.698),
    _resmlp("resmlp_s24", "fb_dino", "resmlp_24_dino.pth", num_classes=0, vocabulary=""),
    _resmlp("resmlp_s36", "fb_in1k", "resmlp_36_no_dist.pth", 0.798),
    _resmlp("resmlp_s36", "fb_distilled_in1k", "resmlp_36_dist.pth", 0.811),
    _resmlp("resmlp_b24_p8", "fb_in1k", "resmlpB_24_no_dist.pth", 0.810, 0.857, 0.686),
    _resmlp("resmlp_b24_p8", "fb_distilled_in1k", "resmlpB_24_dist.pth", 0.836, 0.884, 0.734),
    _resmlp("resmlp_b24_p8", "fb_in22k_ft_in1k", "resmlpB_24_22k.pth", 0.844, 0.889, 0.742),
    *_google("mixer_b16", "B", 0.7668),
    *_google("mixer_l16", "L", 0.7234),
    _MIIL,
    replace(_MIIL, tag="miil_in21k", top1=None, num_classes=11221, vocabulary="imagenet-21k-miil"),
]

PUBLISHED: dict[str, Published] = {weights.name: weights for weights in _ALL}
"""`model.tag` -> the weights"""


HUB = "hf-hub:"
"""what a MODEL on the Hugging Face hub begins with"""

FILE_ENDINGS = ("safetensors", "pth", "pt", "bin", "npz", "json")


def is_tagged(name: str) -> bool:
    """Whether `name` has the form `model.tag` of published weights, with a resmlp, timm or author name of the model."""
    model, dot, tag = name.partition(".")
    known = {weights.model for weights in _ALL}
    return bool(dot and tag) and ALIASES.get(model, model) in known and "/" not in name and tag not in FILE_ENDINGS


def canonical_tag(name: str) -> str:
    """The resmlp name `model.tag` of weights, from a resmlp, timm or author name."""
    model, _, tag = name.partition(".")
    return f"{canonical(model)}.{tag}"


def published(name: str) -> Published:
    """The weights `model.tag`, or the first weights of a model; raises `UserError` if there are none."""
    if "." in name:
        return lookup("weights", canonical_tag(name), PUBLISHED, "see `resmlp list weights`")
    first = {weights.model: weights for weights in reversed(_ALL)}
    return lookup("weights of", canonical(name), first, "see `resmlp list weights`")
