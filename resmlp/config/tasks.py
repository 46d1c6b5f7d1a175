"""Settings of the tasks: a dataclass for each task, and a class of the same name in `resmlp.tasks`."""

from dataclasses import dataclass, replace
from typing import Annotated, Literal

from tyro.conf import arg

from resmlp.config.help import MANY
from resmlp.config.model_json import STRIDE
from resmlp.config.seq2seq import SEARCH
from resmlp.utils.checks import ANY, BELOW_ONE, POSITIVE, check_choices, check_range, demand
from resmlp.utils.errors import UserError


@dataclass(frozen=True)
class Task:
    """Base of the settings of all tasks."""


@dataclass(frozen=True)
class Supervised(Task):
    """Classification with cross-entropy."""

    label_smoothing: float = 0.1
    consistency: float = 0.0
    """with --data.grids: weight of the divergence of the outputs from those of the largest grid; 0: none"""
    balance: float = 0.0
    """the weight of an image is (frequency of its class) ** -balance, with mean 1; 0: the same weight for all images;
    1: for all classes"""

    def __post_init__(self) -> None:
        check_range("--task.", self, label_smoothing=(0, BELOW_ONE), consistency=(0, ANY), balance=(0, 1))


@dataclass(frozen=True)
class Distill(Task):
    """Classification with labels and with the predictions of a teacher for the same images."""

    teacher: str = "timm:regnety_160.deit_in1k"
    """a trained MODEL: a run folder, a file of weights, a name of `resmlp list weights`, or timm:NAME.TAG"""
    targets: Annotated[Literal["hard", "soft"], arg(aliases=["--task.kind"])] = "hard"
    """hard: the most probable class of the teacher; soft: its probabilities at --task.temperature"""
    alpha: float = 0.5
    """weight of the teacher in the loss; the labels have the weight 1 - alpha"""
    temperature: float = 1.0
    """soft targets: divides the logits of teacher and student; its square multiplies the teacher's part of the loss"""
    label_smoothing: float = 0.1
    """label smoothing; the teacher's targets are never smoothed"""
    consistency: float = 0.0
    """with --data.grids: weight of the divergence of the outputs from those of the largest grid; 0: none"""
    balance: float = 0.0
    """the weight of an image is (frequency of its class) ** -balance, with mean 1; 0: the same weight for all images;
    1: for all classes"""
    teacher_size: tuple[int, ...] | None = None
    """height and width of the teacher's images, or one number for a square; None: from its own preprocessing"""
    teacher_precision: Literal["fp32", "bf16"] = "fp32"
    top_k: int = 0
    """soft targets: use only the k largest logits of the teacher; 0: all"""
    cache: str | None = None
    """folder for the teacher's outputs; later runs with the same data, augmentation, seed and batches reuse them"""

    def __post_init__(self) -> None:
        check_choices("--task.", self)
        check_range("--task.", self, alpha=(0, 1), temperature=(POSITIVE, ANY), label_smoothing=(0, BELOW_ONE))
        check_range("--task.", self, consistency=(0, ANY), balance=(0, 1))
        check_range("--task.", self, teacher_size=(1, 2**15), top_k=(0, ANY))
        one_or_two = self.teacher_size is None or len(self.teacher_size) in (1, 2)
        demand(one_or_two, f"--task.teacher-size {self.teacher_size}", "give one number, or height and width")


@dataclass(frozen=True)
class MultiLabel(Task):
    """Several labels for each image, or none: a yes or no for each class."""

    loss: Literal["bce", "asymmetric"] = "bce"
    """bce: binary cross-entropy; asymmetric: the asymmetric loss of Ridnik et al. 2021, for classes that few images
    have"""
    gamma_neg: float = 4.0
    """asymmetric loss: exponent that lowers the weight of classes that an image does not have and that are told so"""
    gamma_pos: float = 1.0
    """asymmetric loss: the same of classes that an image has"""
    clip: float = 0.05
    """asymmetric loss: probabilities of absent classes are lowered by it; below it they have no loss"""
    label_smoothing: float = 0.0
    """s: a target t becomes t (1 - s) + s / 2"""

    def __post_init__(self) -> None:
        check_choices("--task.", self)
        check_range("--task.", self, gamma_neg=(0, ANY), gamma_pos=(0, ANY), clip=(0, BELOW_ONE))
        check_range("--task.", self, label_smoothing=(0, BELOW_ONE))


@dataclass(frozen=True)
class Dino(Task):
    """Self-supervised training with DINO: the student predicts the teacher's outputs for other views of an image."""

    local_crops: Literal["resize", "interpolate", "pad", "none"] = "resize"
    """how a network of fixed size processes small views. resize: enlarge them to --data.img-size; interpolate: resize
    its token mixers to their grid; pad: put them at a random place of an empty image; none: no small views"""
    local_views: int = 8
    """small views per image, in addition to the two large ones"""
    local_size: tuple[int, ...] | None = None
    """height and width of a small view in pixels, or one number for a square; None: 96/224 of --data.img-size, in whole
    patches. A large view has the size --data.img-size"""
    global_scale: tuple[float, float] = (0.4, 1.0)
    """smallest and largest fraction of the image's area in a large view"""
    local_scale: tuple[float, float] = (0.05, 0.4)
    """smallest and largest fraction of the image's area in a small view"""
    blur: float = 2.0
    """largest radius of the Gaussian blur, in pixels of the view; 0: none"""
    out_dim: int = 65536
    """output dimension of student and teacher"""
    hidden: int = 2048
    """width of the two hidden layers of the projection head"""
    bottleneck: int = 256
    """width of the input of its last layer"""
    head_norm: Literal["none", "batchnorm"] = "none"
    """batchnorm: after each hidden layer, over the views of a step in each process (DINO's --use_bn_in_head); it
    removes what all images have in common, and so prevents a collapse in short runs on small images"""
    freeze_last: int = 1
    """first epochs in which the last layer of the head is frozen"""
    student_temp: float = 0.1
    teacher_temp: float = 0.07
    warmup_teacher_temp: float = 0.04
    """temperature of the teacher at the start"""
    warmup_teacher_temp_epochs: float = 30
    """epochs in which it rises linearly to --task.teacher-temp"""
    teacher_momentum: float = 0.996
    """decay of the moving average that is the teacher; it rises to 1 by a cosine schedule"""
    center_momentum: float = 0.9
    """decay of the moving average of the teacher's outputs, the center"""
    labels: Literal["auto", "none"] = "auto"
    """auto: if the folders are classes, evaluate k-NN on a validation set; none: train on all images"""
    knn_images: int = 0
    """training images among which k-NN searches neighbors; 0: all"""
    stop_on_collapse: bool = False
    """stop if the teacher has the same output for all images; by default, print a warning"""

    def __post_init__(self) -> None:
        check_choices("--task.", self)
        check_range("--task.", self, local_views=(0, ANY), local_size=(1, 2**15), blur=(0, ANY), out_dim=(2, 2**24))
        check_range("--task.", self, global_scale=(POSITIVE, 1), local_scale=(POSITIVE, 1), knn_images=(0, ANY))
        check_range("--task.", self, hidden=(1, 2**20), bottleneck=(1, 2**20), freeze_last=(0, ANY))
        check_range("--task.", self, student_temp=(POSITIVE, ANY), teacher_temp=(POSITIVE, ANY))
        check_range("--task.", self, warmup_teacher_temp=(POSITIVE, ANY), warmup_teacher_temp_epochs=(0, ANY))
        check_range("--task.", self, teacher_momentum=(0, 1), center_momentum=(0, BELOW_ONE))
        sides = self.local_size if self.local_size is not None else (1,)
        shown = " ".join(map(str, sides))
        demand(len(sides) in (1, 2), f"--task.local-size {shown}", "give one number, or height and width")
        for name in ("global", "local"):
            low, high = getattr(self, f"{name}_scale")
            demand(low <= high, f"--task.{name}-scale {low} {high}", "give the smaller fraction first")

    @property
    def has_local(self) -> bool:
        """Whether an image has small views."""
        return self.local_crops != "none" and self.local_views > 0

    @property
    def local_shape(self) -> tuple[int, int]:
        """(height, width) of a small view; raises `UserError` if the recipe is not complete."""
        if self.local_size is None:
            raise UserError("the size of small views is not set", "complete the recipe, or give --task.local-size")
        return self.local_size[0], self.local_size[-1]

    def completed(self, size: tuple[int, int], patch: int) -> "Dino":
        """The same with the size of small views, by the ratio 96/224 of DINO, for large views of `size`."""
        if self.local_size is not None or not self.has_local:
            return self
        height, width = (max(1, round(side * 96 / 224 / patch)) * patch for side in size)
        return replace(self, local_size=(height,) if height == width else (height, width))


@dataclass(frozen=True)
class Segment(Task):
    """Semantic segmentation with UPerNet's decoder (section 3.6, Table 6)."""

    ignore_index: int | None = 255
    """label in the files that is ignored in the loss and in the mIoU; None: no label"""
    label_map: Annotated[tuple[tuple[int, int], ...], MANY] = ()
    """pairs of a number in the masks and the number of the class that it is: 255 1 for masks of two classes with the
    values 0 and 255, also if --task.ignore-index has the first number"""
    reduce_zero_label: bool = False
    """ignore label 0 as well; labels 1 to K are classes 0 to K-1, as in ADE20K"""
    base_size: tuple[int, ...] | None = None
    """largest longer and shorter side of an image, which is resized to them before the window is cropped, with its
    aspect ratio kept; or one number for the shorter side; None: images are not resized"""
    eval_size: tuple[int, ...] | None = None
    """evaluation: the same as --task.base-size, which is the default"""
    scale: tuple[float, float] = (0.5, 2.0)
    """training: smallest and largest random factor of the base size"""
    max_class_share: float = 0.75
    """training: crop another window, up to 10 times, if one class has this fraction of its labels or more"""
    flip: float = 0.5
    """probability of a horizontal flip"""
    jitter: float = 1.0
    """strength of the color jitter; 1: brightness by 32 of 255, contrast and saturation by half, hue by a tenth of
    the circle, each for half of the images; 0: none"""
    loss: Literal["ce", "dice", "focal", "ce+dice"] = "ce"
    """training: cross-entropy; 1 - the mean Dice coefficient of the classes; the focal loss with gamma 2; or the sum of
    the first two. The mask of ignored pixels and --task.auxiliary apply to all, --task.balance not to dice"""
    balance: float = 0.0
    """training: the weight of a pixel is (frequency of its class) ** -balance; 0: the same weight for all pixels; 1:
    for all classes"""
    empty_classes: bool = False
    """train even if a class has no pixel in the training masks"""
    auxiliary: float = 0.4
    """weight of a second, small decoder in the loss; 0: none"""
    width: int = 512
    """channels of the decoder"""
    backbone: str | None = None
    """a timm network in place of --model, for example resnet18 or convnext_tiny"""
    stride: float = 2 / 3
    """evaluation: step of the sliding window, as a fraction of its side"""
    whole: bool = False
    """evaluation: segment the whole image at once, with the network resized to it, without a sliding window"""

    def __post_init__(self) -> None:
        check_choices("--task.", self)
        share = (POSITIVE, 1)
        check_range("--task.", self, ignore_index=(0, 2**16 - 1), base_size=(1, 2**15), scale=(POSITIVE, 2**8))
        check_range("--task.", self, max_class_share=share, stride=STRIDE, flip=(0, 1), jitter=(0, 2))
        check_range("--task.", self, balance=(0, 1), auxiliary=(0, ANY), width=(1, 2**14))
        check_range("--task.", self, eval_size=(1, 2**15))
        for pair in self.label_map:
            valid = min(pair) >= 0 and max(pair) < 2**16
            demand(valid, "--task.label-map {} {}".format(*pair), "both numbers are from 0 to 65535")
        for name in ("base_size", "eval_size"):
            sides = getattr(self, name)
            shown = f"--task.{name.replace('_', '-')} {' '.join(map(str, sides or ()))}"
            one_or_two = "give one number, or the longer and the shorter side"
            demand(sides is None or len(sides) in (1, 2), shown, one_or_two)
        low, high = self.scale
        demand(low <= high, f"--task.scale {low} {high}", "give the smaller one first")


@dataclass(frozen=True)
class Translate(Task):
    """Translation: predict the next token of the target from the source and the tokens before it (Table 5)."""

    label_smoothing: float = 0.1
    beam: int = 4
    """hypotheses of the beam search; 1: greedy"""
    length_penalty: float = 0.6
    """the score of a hypothesis of n tokens with its end is its log-probability / ((5 + n) / 6) ** length_penalty (Wu
    et al. 2016, equation 14)"""
    metric: Literal["bleu", "exact_match"] = "bleu"
    """score that selects the best checkpoint; all scores are shown"""
    val_sentences: int = 0
    """first validation sentences to translate in each evaluation during training; 0: all"""

    def __post_init__(self) -> None:
        check_choices("--task.", self)
        check_range("--task.", self, label_smoothing=(0, BELOW_ONE), **SEARCH, val_sentences=(0, ANY))
