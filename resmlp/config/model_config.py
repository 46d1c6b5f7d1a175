"""What is said about a network beside its weights: enough to build it again and to feed it. Loads no torch."""

from dataclasses import dataclass, fields
from typing import Any, Literal

from resmlp.config.preprocessing import Preprocessing
from resmlp.config.seq2seq import SEARCH, Seq2SeqArchitecture
from resmlp.config.vision import Architecture
from resmlp.utils.checks import BELOW_ONE, check_choices, check_range, demand
from resmlp.utils.errors import UserError, counted
from resmlp.utils.serialization import from_dict, shown

FORMAT = 1
MODEL_JSON = "model.json"
Target = Literal["onnx", "openvino", "torch"]
Output = Literal["logits", "probabilities", "features"]
STRIDE = (0.05, 1.0)
"""bounds of a sliding window's step, as a share of its side; 0.05 sees each pixel 400 times"""


@dataclass(frozen=True)
class TrunkConfig:
    """All that is needed to build the same network again; stored beside its weights."""

    name: str
    architecture: Architecture
    size: tuple[int, int] = (224, 224)
    """(height, width) of the input in pixels"""
    num_classes: int = 1000
    """0: features, no classifier"""
    drop_path: float = 0.0

    def __post_init__(self):
        check_range("", self, size=(1, 2**15), num_classes=(0, 2**24), drop_path=(0, BELOW_ONE))

    @property
    def grid(self) -> tuple[int, int]:
        """Tokens (down, across)."""
        patch = self.architecture.patch_size
        if self.size[0] % patch or self.size[1] % patch or min(self.size) < patch:
            raise UserError(
                f"an image of {self.size[0]}x{self.size[1]} does not divide into patches of {patch}",
                f"give {self.name} an img_size that is a multiple of {patch}",
            )
        return (self.size[0] // patch, self.size[1] // patch)


@dataclass(frozen=True)
class SegmenterConfig:
    """A trunk, or a backbone of timm's, below UPerNet's decoder."""

    size: tuple[int, int]
    """(height, width) of the window that it sees, in pixels"""
    num_classes: int
    trunk: TrunkConfig | None = None
    """a trunk of ours, without a classifier"""
    backbone: str | None = None
    """timm's name of a network, in its place"""
    width: int = 512
    """channels of the decoder"""
    auxiliary: int = 256
    """channels of the auxiliary head; 0: there is none"""

    def __post_init__(self):
        check_range("", self, size=(1, 2**15), num_classes=(1, 2**16), width=(1, 2**14), auxiliary=(0, 2**14))
        one = "a segmenter stands on a trunk or on a backbone of timm's"
        demand((self.trunk is None) != (self.backbone is None), one, "name one of them")
        if self.trunk is not None:
            sizes = "its trunk sees {}x{} and it {}x{}".format(*self.trunk.size, *self.size)
            demand(self.trunk.size == self.size, sizes, "build the trunk for the window")
            demand(self.trunk.num_classes == 0, "its trunk has a classifier", "a trunk below a decoder has none")


@dataclass(frozen=True)
class Seq2SeqConfig:
    """All that is needed to build the same network that translates again."""

    name: str
    architecture: Seq2SeqArchitecture
    vocabulary: int
    """tokens there are"""
    dropout: float = 0.0

    def __post_init__(self):
        check_range("", self, vocabulary=(4, 2**24), dropout=(0, BELOW_ONE))


@dataclass(frozen=True)
class ModelConfig:
    """The contents of model.json."""

    model: TrunkConfig
    preprocessing: Preprocessing
    classes: tuple[str, ...] = ()
    """class names, in the order of the logits; empty where unknown"""
    format: int = FORMAT

    def __post_init__(self):
        counts = f"{counted(len(self.classes), 'class name')} for {counted(self.model.num_classes, 'class')}"
        fits = not self.classes or self.model.num_classes in (0, len(self.classes))
        demand(fits, counts, "was it changed by hand?")


@dataclass(frozen=True)
class SegmenterModelConfig:
    """The contents of model.json of a network that labels each pixel."""

    model: SegmenterConfig
    preprocessing: Preprocessing
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...] = ()
    """a color for each class, for people; empty: some are made up"""
    base_size: tuple[int, ...] | None = None
    """what an image is resized to before it is seen, as `objectives.Segment` has it for evaluation"""
    stride: float = 2 / 3
    """the step of the sliding window, as a share of its side"""
    whole: bool = False
    """all of the image is seen at once, by the network moved to its size"""
    kind: Literal["segmenter"] = "segmenter"
    format: int = FORMAT

    def __post_init__(self):
        check_range("", self, base_size=(1, 2**15), stride=STRIDE)
        demand(self.base_size is None or len(self.base_size) in (1, 2), "its base_size", "one or two numbers")
        names = f"{counted(len(self.classes), 'class name')} for {counted(self.model.num_classes, 'class')}"
        demand(len(self.classes) == self.model.num_classes, names, "was it changed by hand?")
        bright = all(0 <= value <= 255 for color in self.palette for value in color)
        demand(bright, "a color of its palette is none", "three numbers from 0 to 255 each")
        colors = f"{counted(len(self.palette), 'color')} for {counted(self.model.num_classes, 'class')}"
        demand(len(self.palette) in (0, self.model.num_classes), colors, "was it changed by hand?")


@dataclass(frozen=True)
class TranslatorModelConfig:
    """The contents of model.json of a network that translates; tokenizer.json lies beside it."""

    model: Seq2SeqConfig
    source_language: str
    target_language: str
    tokenizer: str = ""
    """fingerprint of that vocabulary: tokens of another have other numbers"""
    beam: int = 4
    length_penalty: float = 0.6
    kind: Literal["translator"] = "translator"
    format: int = FORMAT

    def __post_init__(self):
        check_range("", self, **SEARCH)


@dataclass(frozen=True)
class ExportedModelConfig:
    """The contents of model.json beside an exported network: all that a program needs to feed it and to read it."""

    model: TrunkConfig
    """what it was before it was folded; no weights of this network can be got back from the files"""
    preprocessing: Preprocessing
    to: Target
    files: tuple[str, ...]
    output: Output
    pixels: bool
    """it takes uint8 B 3 H W, 0 to 255, cropped but not normalized; else float32, normalized"""
    classes: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    """the same classes for people, where their names are codes"""
    difference: float = 0.0
    """largest difference from torch's output that was seen"""
    folded: bool = True
    kind: Literal["exported"] = "exported"
    format: int = FORMAT

    def __post_init__(self):
        check_choices("", self)
        plain = all(name not in ("", ".", "..") and not set("/\\\0") & set(name) for name in self.files)
        demand(plain and bool(self.files), "its files are not names alone", "was it changed by hand?")
        counts = f"{counted(len(self.classes), 'class name')} for {counted(self.model.num_classes, 'class')}"
        fits = not self.classes or self.model.num_classes in (0, len(self.classes))
        demand(fits and len(self.words) in (0, len(self.classes)), counts, "was it changed by hand?")


AnyConfig = ModelConfig | SegmenterModelConfig | TranslatorModelConfig | ExportedModelConfig

MODEL_CONFIGS: dict[str, type] = {
    "classifier": ModelConfig,
    "segmenter": SegmenterModelConfig,
    "translator": TranslatorModelConfig,
    "exported": ExportedModelConfig,
}
"""by the "kind" that a model.json says; one that says none is a classifier"""


def noun(kind: str) -> str:
    """A key of `MODEL_CONFIGS` as a noun phrase for messages."""
    return "an exported network" if kind == "exported" else f"a {kind}"


def kind_from(values: Any) -> str:
    """The key of `MODEL_CONFIGS` that a model.json belongs to. Raises `UserError`, for a newer format first."""
    demand(isinstance(values, dict), "it holds no JSON object", "was it changed by hand?")
    form, kind = values.get("format", FORMAT), values.get("kind", "classifier")
    newer = type(form) is int and form > FORMAT
    demand(not newer, f"its format is {shown(form)}", "written by a newer resmlp: update it")
    demand(form == FORMAT, f"its format is {shown(form)}", f"it should be {FORMAT}")
    demand(
        isinstance(kind, str) and kind in MODEL_CONFIGS,
        f"its kind is {shown(kind)}",
        f"known are {', '.join(MODEL_CONFIGS)}",
    )
    return kind


def config_from(values: Any) -> AnyConfig:
    """The configuration that `to_dict` described. Raises `UserError`."""
    cls = MODEL_CONFIGS[kind_from(values)]
    known = [field.name for field in fields(cls)]
    for part in ("model", "preprocessing"):
        demand(part in values or part not in known, f"it has no {part!r}", "was it changed by hand?")
    return from_dict(cls, {key: value for key, value in values.items() if key != "kind"})
