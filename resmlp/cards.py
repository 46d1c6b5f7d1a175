"""What is said about a network beside its weights: enough to build it again and to feed it. Loads no torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from resmlp.architectures import Architecture
from resmlp.checks import BELOW_ONE, check_range, demand
from resmlp.errors import UserError
from resmlp.files import read_json
from resmlp.preprocessing import Preprocessing
from resmlp.seq2seq import Seq2SeqArchitecture
from resmlp.serial import from_dict, shown

FORMAT = 1


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
                f"a picture of {self.size[0]}x{self.size[1]} does not divide into patches of {patch}",
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
class Card:
    """The contents of model.json."""

    model: TrunkConfig
    preprocessing: Preprocessing
    classes: tuple[str, ...] = ()
    """class names, in the order of the logits; empty where unknown"""
    format: int = FORMAT

    def __post_init__(self):
        counts = f"{len(self.classes)} class names for {self.model.num_classes} classes"
        fits = not self.classes or self.model.num_classes in (0, len(self.classes))
        demand(fits, counts, "was it changed by hand?")


@dataclass(frozen=True)
class SegmenterCard:
    """The contents of model.json of a network that labels each pixel."""

    model: SegmenterConfig
    preprocessing: Preprocessing
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...] = ()
    """a colour for each class, for people; empty: some are made up"""
    kind: Literal["segmenter"] = "segmenter"
    format: int = FORMAT

    def __post_init__(self):
        names = f"{len(self.classes)} class names for {self.model.num_classes} classes"
        demand(len(self.classes) == self.model.num_classes, names, "was it changed by hand?")
        check_range("", self, palette=(0, 255))
        colours = f"{len(self.palette)} colours for {self.model.num_classes} classes"
        demand(len(self.palette) in (0, self.model.num_classes), colours, "was it changed by hand?")


@dataclass(frozen=True)
class TranslatorCard:
    """The contents of model.json of a network that translates; tokenizer.json lies beside it."""

    model: Seq2SeqConfig
    source_language: str
    target_language: str
    beam: int = 4
    length_penalty: float = 0.6
    kind: Literal["translator"] = "translator"
    format: int = FORMAT


CARDS: dict[str, type] = {"classifier": Card, "segmenter": SegmenterCard, "translator": TranslatorCard}
"""by the "kind" that a model.json says; one that says none is a classifier"""


def card_from(values: Any) -> Card:
    """The card that `to_dict` described. Raises `UserError`, for a newer format before anything that is new in it."""
    demand(isinstance(values, dict), "it holds no JSON object", "was it changed by hand?")
    form = values.get("format", FORMAT)
    newer = type(form) is int and form > FORMAT
    demand(not newer, f"its format is {shown(form)}", "written by a newer resmlp: update it")
    demand(form == FORMAT, f"its format is {shown(form)}", f"it should be {FORMAT}")
    for part in ("model", "preprocessing"):
        demand(part in values, f"it has no {part!r}", "was it changed by hand?")
    return from_dict(Card, values)


def read_card(path: Path) -> Card:
    """A model.json; what is wrong with it is said with its name."""
    try:
        return card_from(read_json(path))
    except UserError as error:
        raise UserError(f"{path}: {error.what}", error.hint) from None
