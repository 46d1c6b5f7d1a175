"""What is learned, as settings: a dataclass a task, and a class of the same name in `resmlp.tasks`. Loads no torch."""

from dataclasses import dataclass, replace
from typing import Annotated, Literal

from tyro.conf import arg

from resmlp.config.model_config import STRIDE
from resmlp.config.seq2seq import SEARCH
from resmlp.utils.checks import ANY, BELOW_ONE, POSITIVE, check_choices, check_range, demand
from resmlp.utils.errors import UserError


@dataclass(frozen=True)
class Task:
    """What is learned: each task has its own subclass, and a class of the same name in `resmlp.tasks`."""


@dataclass(frozen=True)
class Supervised(Task):
    """Classification with cross-entropy."""

    label_smoothing: float = 0.1

    def __post_init__(self):
        check_range("--task.", self, label_smoothing=(0, BELOW_ONE))


@dataclass(frozen=True)
class Distill(Task):
    """Classification by the labels and by what a teacher says of the same images."""

    teacher: str = "timm:regnety_160.deit_in1k"
    """a trained MODEL: a run folder, a file of weights, a name of `resmlp list weights`, or timm:NAME.TAG"""
    targets: Annotated[Literal["hard", "soft"], arg(aliases=["--task.kind"])] = "hard"
    """hard: the teacher's likeliest class; soft: its probabilities at `temperature`"""
    alpha: float = 0.5
    """share of the teacher in the loss; the labels have the rest"""
    temperature: float = 1.0
    """soft targets: divides the logits of both, and its square multiplies the teacher's part"""
    label_smoothing: float = 0.1
    """of the labels; the teacher's part is never smoothed"""
    teacher_size: tuple[int, ...] | None = None
    """height and width of the teacher's images, or one number for a square; None: its own preprocessing's"""
    teacher_precision: Literal["fp32", "bf16"] = "fp32"
    top_k: int = 0
    """soft targets: only the teacher's k largest logits count; 0: all"""
    cache: str | None = None
    """a folder that keeps the teacher's answers for later runs with the same data, augmentation, seed and batches"""

    def __post_init__(self):
        check_choices("--task.", self)
        check_range("--task.", self, alpha=(0, 1), temperature=(POSITIVE, ANY), label_smoothing=(0, BELOW_ONE))
        check_range("--task.", self, teacher_size=(1, 2**15), top_k=(0, ANY))
        many = self.teacher_size is not None and len(self.teacher_size) not in (1, 2)
        demand(not many, f"--task.teacher-size {self.teacher_size}", "give one number, or height and width")


@dataclass(frozen=True)
class Dino(Task):
    """Self-supervision: the student says of one view of an image what the teacher says of another (DINO)."""

    local_crops: Literal["resize", "interpolate", "pad", "none"] = "resize"
    """what a network of fixed size does with small views. resize: enlarge them to --data.img-size; interpolate: move
    its token mixers to their grid; pad: lay them anywhere on an empty image; none: there are none"""
    local_views: int = 8
    """small views of an image, beside the two large ones"""
    local_size: tuple[int, ...] | None = None
    """height and width of a small view in pixels, or one number for a square; None: 96/224 of --data.img-size, in whole
    patches. A large view has the size --data.img-size"""
    global_scale: tuple[float, float] = (0.4, 1.0)
    """share of the image's area that a large view takes"""
    local_scale: tuple[float, float] = (0.05, 0.4)
    """share of the image's area that a small view takes"""
    blur: float = 2.0
    """largest radius of the Gaussian blur, in pixels of the view; 0 is off"""
    out_dim: int = 65536
    """dimensions of what student and teacher say"""
    hidden: int = 2048
    """width of the projection head's two hidden layers"""
    bottleneck: int = 256
    """width before its last layer"""
    head_norm: Literal["none", "batchnorm"] = "none"
    """batchnorm: after each hidden layer, over the views of a step in each process (DINO's --use_bn_in_head): what
    all images have in common is taken away at once, so that few steps on small images do not end in a collapse"""
    freeze_last: int = 1
    """first epochs in which the head's last layer does not learn"""
    student_temp: float = 0.1
    teacher_temp: float = 0.07
    warmup_teacher_temp: float = 0.04
    """the teacher's temperature at the start"""
    warmup_teacher_temp_epochs: float = 30
    """epochs in which it rises to `teacher_temp`, by a line"""
    teacher_momentum: float = 0.996
    """share of the teacher that a step keeps; it rises to 1 by a cosine"""
    center_momentum: float = 0.9
    """share of the center of the teacher's outputs that a step keeps"""
    labels: Literal["auto", "none"] = "auto"
    """auto: where folders are classes, hold images out and classify them by k-NN; none: learn from all there are"""
    knn_images: int = 0
    """training images among which k-NN looks for neighbors; 0: all"""
    stop_on_collapse: bool = False
    """stop when the teacher says the same of every image, instead of a warning"""

    def __post_init__(self):
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
            demand(low <= high, f"--task.{name}-scale {low} {high}", "the smaller share first")

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
    """Semantic segmentation: a class for each pixel, by UPerNet's decoder (section 3.6, Table 6)."""

    ignore_index: int | None = 255
    """label in the files that counts for nothing, neither in the loss nor in the mIoU; None: all count"""
    reduce_zero_label: bool = False
    """label 0 counts for nothing as well, and 1 to K are classes 0 to K-1, as in ADE20K"""
    base_size: tuple[int, ...] | None = None
    """bounds of an image's longer and shorter side that it is resized to before the window is cut, its proportions
    kept, or one number for the shorter side alone; None: it stays of its own size"""
    eval_size: tuple[int, ...] | None = None
    """evaluation: the same bounds in place of --task.base-size; None: those"""
    scale: tuple[float, float] = (0.5, 2.0)
    """training: the base size is multiplied by a random number from here to there"""
    max_class_share: float = 0.75
    """training: a window is cut again, up to 10 times, where one class takes this share of its labels or more"""
    flip: float = 0.5
    """probability of a horizontal flip"""
    jitter: float = 1.0
    """strength of the change of colors; 1: brightness by 32 of 255, contrast and saturation by half, hue by a tenth of
    the circle, each in half of the images; 0: none"""
    balance: float = 0.0
    """training: a pixel weighs as much as the share of its class among all labels, to the power of minus this; 0: all
    pixels alike; 1: all classes alike"""
    empty_classes: bool = False
    """train although some class has no pixel to learn from in any training mask"""
    auxiliary: float = 0.4
    """weight in the loss of a second, small decoder; 0: there is none"""
    width: int = 512
    """channels of the decoder"""
    backbone: str | None = None
    """timm's name of a network of feature maps, in place of --model: resnet18, convnext_tiny, ..."""
    stride: float = 2 / 3
    """evaluation: the step of the sliding window, as a share of its side"""
    whole: bool = False
    """evaluation: see all of the image at once, the network moved to its size, and slide nothing"""

    def __post_init__(self):
        share = (POSITIVE, 1)
        check_range("--task.", self, ignore_index=(0, 2**16 - 1), base_size=(1, 2**15), scale=(POSITIVE, 2**8))
        check_range("--task.", self, max_class_share=share, stride=STRIDE, flip=(0, 1), jitter=(0, 2))
        check_range("--task.", self, balance=(0, 1), auxiliary=(0, ANY), width=(1, 2**14))
        check_range("--task.", self, eval_size=(1, 2**15))
        for name in ("base_size", "eval_size"):
            sides = getattr(self, name)
            shown = f"--task.{name.replace('_', '-')} {' '.join(map(str, sides or ()))}"
            one_or_two = "give one number, or those of the longer and the shorter side"
            demand(sides is None or len(sides) in (1, 2), shown, one_or_two)
        low, high = self.scale
        demand(low <= high, f"--task.scale {low} {high}", "the smaller first")


@dataclass(frozen=True)
class Translate(Task):
    """Translation: the next token of the target, given those before it and the source (Table 5)."""

    label_smoothing: float = 0.1
    beam: int = 4
    """hypotheses that the search for the best translation keeps; 1 is greedy"""
    length_penalty: float = 0.6
    """a hypothesis of n tokens, its end included, scores its log-probability / ((5 + n) / 6) ** this (Wu et al. 2016,
    equation 14)"""
    metric: Literal["bleu", "exact_match"] = "bleu"
    """which number decides what is best; both are shown"""
    val_sentences: int = 0
    """held-out sentences that are translated in an evaluation while training, the first ones; 0: all"""

    def __post_init__(self):
        check_choices("--task.", self)
        check_range("--task.", self, label_smoothing=(0, BELOW_ONE), **SEARCH, val_sentences=(0, ANY))
