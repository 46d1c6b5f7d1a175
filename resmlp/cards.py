"""What is said about a network beside its weights: enough to build it again and to feed it. Loads no torch."""

from dataclasses import dataclass
from pathlib import Path

from resmlp.architectures import Architecture
from resmlp.checks import BELOW_ONE, check_range, demand
from resmlp.errors import UserError
from resmlp.files import read_json
from resmlp.preprocessing import Preprocessing
from resmlp.serial import from_dict


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
    format: int = 1

    def __post_init__(self):
        demand(self.format == 1, f"format {self.format}", "written by a newer resmlp: update it")
        counts = f"{len(self.classes)} class names for {self.model.num_classes} classes"
        fits = not self.classes or self.model.num_classes in (0, len(self.classes))
        demand(fits, counts, "model.json was changed by hand")


def read_card(path: Path) -> Card:
    """A model.json; what is wrong with it is said with its name."""
    try:
        return from_dict(Card, read_json(path))
    except UserError as error:
        raise UserError(f"{path}: {error.what}", error.hint) from None
