"""The contents of model.json: what is needed to build a network again and to preprocess its input."""

from dataclasses import dataclass, fields
from typing import Any, Literal

from resmlp.config.precision import Precision
from resmlp.config.preprocessing import Preprocessing
from resmlp.config.seq2seq import SEARCH, Seq2SeqArchitecture
from resmlp.config.vision import Architecture
from resmlp.utils.checks import BELOW_ONE, check_choices, check_range, demand
from resmlp.utils.errors import UserError, counted
from resmlp.utils.serialization import from_dict, shown

FORMAT = 1
MODEL_JSON = "model.json"
Target = Literal["onnx", "openvino", "torch", "executorch"]
Output = Literal["logits", "probabilities", "features"]
STRIDE = (0.05, 1.0)
"""bounds of the step of a sliding window, as a fraction of its side; with 0.05 a pixel is in 400 windows"""


@dataclass(frozen=True)
class TrunkConfig:
    """A trunk with its classifier: everything that is needed to build the same network again."""

    name: str
    architecture: Architecture
    size: tuple[int, int] = (224, 224)
    """(height, width) of the input in pixels"""
    num_classes: int = 1000
    """0: no classifier; the output is the features"""
    drop_path: float = 0.0

    def __post_init__(self) -> None:
        check_range("", self, size=(1, 2**15), num_classes=(0, 2**24), drop_path=(0, BELOW_ONE))

    @property
    def grid(self) -> tuple[int, int]:
        """(rows, columns) of tokens; raises `UserError` if the size does not divide into patches."""
        patch = self.architecture.patch_size
        if self.size[0] % patch or self.size[1] % patch or min(self.size) < patch:
            raise UserError(
                f"an image of {self.size[0]}x{self.size[1]} does not divide into patches of {patch}",
                f"give {self.name} an img_size that is a multiple of {patch}",
            )
        return (self.size[0] // patch, self.size[1] // patch)


@dataclass(frozen=True)
class SegmenterConfig:
    """A segmenter: a resmlp trunk or a timm backbone, and UPerNet's decoder."""

    size: tuple[int, int]
    """(height, width) of the input window in pixels"""
    num_classes: int
    trunk: TrunkConfig | None = None
    """a resmlp trunk without a classifier"""
    backbone: str | None = None
    """timm's name of a network, in place of a trunk"""
    width: int = 512
    """channels of the decoder"""
    auxiliary: int = 256
    """channels of the auxiliary decoder; 0: none"""

    def __post_init__(self) -> None:
        check_range("", self, size=(1, 2**15), num_classes=(1, 2**16), width=(1, 2**14), auxiliary=(0, 2**14))
        one = "a segmenter has either a trunk or a timm backbone"
        demand((self.trunk is None) != (self.backbone is None), one, "give one of them")
        if self.trunk is not None:
            sizes = "its trunk is for {}x{} and its window is {}x{}".format(*self.trunk.size, *self.size)
            demand(self.trunk.size == self.size, sizes, "build the trunk for the window")
            demand(self.trunk.num_classes == 0, "its trunk has a classifier", "set num_classes of the trunk to 0")


@dataclass(frozen=True)
class Seq2SeqConfig:
    """A translation network: everything that is needed to build it again."""

    name: str
    architecture: Seq2SeqArchitecture
    vocabulary: int
    """number of tokens in the vocabulary"""
    dropout: float = 0.0

    def __post_init__(self) -> None:
        check_range("", self, vocabulary=(4, 2**24), dropout=(0, BELOW_ONE))


@dataclass(frozen=True)
class ModelConfig:
    """The contents of model.json of a classifier."""

    model: TrunkConfig
    preprocessing: Preprocessing
    classes: tuple[str, ...] = ()
    """class names, in the order of the logits; empty if unknown"""
    threshold: float | None = None
    """the probability from which on an image has a class, where it may have several (`tasks.MultiLabel`)"""
    format: int = FORMAT

    def __post_init__(self) -> None:
        check_range("", self, threshold=(0, 1))
        counts = f"{counted(len(self.classes), 'class name')} for {counted(self.model.num_classes, 'class')}"
        fits = not self.classes or self.model.num_classes in (0, len(self.classes))
        demand(fits, counts, "was it changed by hand?")
        demand_channels(self.model, self.preprocessing)


def demand_channels(trunk: TrunkConfig, preprocessing: Preprocessing) -> None:
    """Raise `UserError` unless images are normalized for the channels of the network."""
    channels = f"its mean has {counted(len(preprocessing.mean), 'value')}"
    fits = len(preprocessing.mean) == trunk.architecture.in_chans
    demand(fits, f"{channels} for {counted(trunk.architecture.in_chans, 'channel')}", "was it changed by hand?")


@dataclass(frozen=True)
class SegmenterModelConfig:
    """The contents of model.json of a segmenter."""

    model: SegmenterConfig
    preprocessing: Preprocessing
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...] = ()
    """a display color for each class; empty: generated"""
    base_size: tuple[int, ...] | None = None
    """size to which an image is resized in evaluation, as `eval_size` of `tasks.Segment`"""
    stride: float = 2 / 3
    """step of the sliding window, as a fraction of its side"""
    whole: bool = False
    """segment the whole image at once, with the network resized to it"""
    kind: Literal["segmenter"] = "segmenter"
    format: int = FORMAT

    def __post_init__(self) -> None:
        check_range("", self, base_size=(1, 2**15), stride=STRIDE)
        demand(self.base_size is None or len(self.base_size) in (1, 2), "its base_size", "one or two numbers")
        names = f"{counted(len(self.classes), 'class name')} for {counted(self.model.num_classes, 'class')}"
        demand(len(self.classes) == self.model.num_classes, names, "was it changed by hand?")
        if self.model.trunk is not None:
            demand_channels(self.model.trunk, self.preprocessing)
        bright = all(0 <= value <= 255 for color in self.palette for value in color)
        demand(bright, "its palette has an invalid color", "a color is three numbers from 0 to 255")
        colors = f"{counted(len(self.palette), 'color')} for {counted(self.model.num_classes, 'class')}"
        demand(len(self.palette) in (0, self.model.num_classes), colors, "was it changed by hand?")


@dataclass(frozen=True)
class TranslatorModelConfig:
    """The contents of model.json of a translator; tokenizer.json is in the same folder."""

    model: Seq2SeqConfig
    source_language: str
    target_language: str
    tokenizer: str = ""
    """fingerprint of the vocabulary: the ids of the tokens depend on it"""
    beam: int = 4
    length_penalty: float = 0.6
    kind: Literal["translator"] = "translator"
    format: int = FORMAT

    def __post_init__(self) -> None:
        check_range("", self, **SEARCH)


@dataclass(frozen=True)
class ExportedModelConfig:
    """The contents of model.json of an exported network: how to make its input and read its output."""

    model: TrunkConfig
    """the network before folding; its weights cannot be recovered from the files"""
    preprocessing: Preprocessing
    to: Target
    files: tuple[str, ...]
    output: Output
    pixels: bool
    """whether the input is uint8 B 3 H W, 0 to 255, cropped but not normalized; otherwise float32, normalized"""
    classes: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    """readable names of the classes, if their names are codes"""
    threshold: float | None = None
    """as of `ModelConfig`"""
    difference: float = 0.0
    """largest measured difference from the output of torch"""
    precision: Precision = "fp32"
    """in which it is run where the hardware has it; the weights in the files are of 32 bits, but for int8"""
    agreement: str = ""
    """how near the answers in this precision are to those in fp32"""
    folded: bool = True
    sizes: tuple[tuple[int, int], ...] = ()
    """of images, each with a graph of its own; empty: one graph, for that of `model`"""
    kind: Literal["exported"] = "exported"
    format: int = FORMAT

    def __post_init__(self) -> None:
        check_choices("", self)
        check_file_names(self.files)
        counts = f"{counted(len(self.classes), 'class name')} for {counted(self.model.num_classes, 'class')}"
        fits = not self.classes or self.model.num_classes in (0, len(self.classes))
        demand(fits and len(self.words) in (0, len(self.classes)), counts, "was it changed by hand?")
        demand_channels(self.model, self.preprocessing)
        among = self.model.size in (self.sizes or [self.model.size])
        demand(among, "its size is not one of its sizes", "was it changed by hand?")


@dataclass(frozen=True)
class ExportedSegmenterConfig:
    """The contents of model.json of an exported segmenter: a graph from a window, or a whole image, to logits."""

    segmenter: SegmenterModelConfig
    """of the network for the size of the graph"""
    to: Target
    files: tuple[str, ...]
    pixels: bool
    """whether the input is uint8, as of `ExportedModelConfig`"""
    patch: int
    """pixels to a multiple of which the sides of a whole image are filled up"""
    difference: float = 0.0
    """largest measured difference from the logits of torch, as a share of the largest logit where that is above 1"""
    precision: Precision = "fp32"
    agreement: str = ""
    kind: Literal["exported-segmenter"] = "exported-segmenter"
    format: int = FORMAT

    def __post_init__(self) -> None:
        check_choices("", self)
        check_range("", self, patch=(1, 2**15))
        check_file_names(self.files)


@dataclass(frozen=True)
class ExportedTranslatorConfig:
    """The contents of model.json of an exported translator: two graphs, the encoder and a step of the decoder."""

    translator: TranslatorModelConfig
    to: Target
    files: tuple[str, ...]
    """the graphs; tokenizer.json is in the same folder"""
    difference: float = 0.0
    """as of `ExportedSegmenterConfig`"""
    precision: Precision = "fp32"
    """int8: matrices of 8 bits, products of 32"""
    agreement: str = ""
    """how near its logits are to those of fp32"""
    kind: Literal["exported-translator"] = "exported-translator"
    format: int = FORMAT

    def __post_init__(self) -> None:
        check_choices("", self)
        check_file_names(self.files)


def check_file_names(files: tuple[str, ...]) -> None:
    """Raise `UserError` for names that lead to another folder."""
    plain = all(name not in ("", ".", "..") and not set("/\\\0") & set(name) for name in files)
    demand(plain and bool(files), "its files are not plain file names", "was it changed by hand?")


AnyExport = ExportedModelConfig | ExportedSegmenterConfig | ExportedTranslatorConfig
AnyConfig = ModelConfig | SegmenterModelConfig | TranslatorModelConfig | AnyExport

MODEL_CONFIGS: dict[str, type] = {
    "classifier": ModelConfig,
    "segmenter": SegmenterModelConfig,
    "translator": TranslatorModelConfig,
    "exported": ExportedModelConfig,
    "exported-segmenter": ExportedSegmenterConfig,
    "exported-translator": ExportedTranslatorConfig,
}
"""the type of each "kind" in model.json; without a kind it is a classifier"""


def noun(kind: str) -> str:
    """A key of `MODEL_CONFIGS` as a noun phrase for messages."""
    return "an exported network" if kind == "exported" else f"a{'n' * kind.startswith('e')} {kind.replace('-', ' ')}"


def kind_from(values: Any) -> str:
    """The key of `MODEL_CONFIGS` that a model.json belongs to. Raises `UserError`, for a newer format first."""
    demand(isinstance(values, dict), "it is not a JSON object", "was it changed by hand?")
    form, kind = values.get("format", FORMAT), values.get("kind", "classifier")
    newer = type(form) is int and form > FORMAT
    demand(not newer, f"its format is {shown(form)}", "written by a newer resmlp: update it")
    demand(form == FORMAT, f"its format is {shown(form)}", f"it should be {FORMAT}")
    demand(
        isinstance(kind, str) and kind in MODEL_CONFIGS,
        f"its kind is {shown(kind)}",
        f"it should be one of {', '.join(MODEL_CONFIGS)}",
    )
    return kind


def config_from(values: Any) -> AnyConfig:
    """The configuration from the dictionary that `to_dict` made. Raises `UserError`."""
    cls = MODEL_CONFIGS[kind_from(values)]
    known = [field.name for field in fields(cls)]
    for part in ("model", "preprocessing"):
        demand(part in values or part not in known, f"it has no {part!r}", "was it changed by hand?")
    return from_dict(cls, {key: value for key, value in values.items() if key != "kind"})
