"""What is said about a network beside its weights: enough to build it again and to feed it. Loads no torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resmlp.architectures import Architecture
from resmlp.checks import BELOW_ONE, check_range, demand
from resmlp.errors import UserError
from resmlp.files import read_json
from resmlp.preprocessing import Preprocessing
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
