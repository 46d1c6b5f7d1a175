"""What every verb has."""

import json
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from tyro.conf import arg

from resmlp.utils.errors import printable

Device = Literal["auto", "cpu", "cuda", "mps"]
SIZE_HELP = "size of the images in pixels: 160, or height x width, 320x224; default that of the network"
ImgSize = Annotated[str | None, arg(metavar="SIZE", help=SIZE_HELP)]
RunSize = Annotated[
    str | None, arg(metavar="SIZE", help=f"{SIZE_HELP}; native: each image at its own aspect ratio, without a crop")
]
"""of verbs that run a network over images"""


@dataclass(frozen=True)
class Verb(ABC):
    """A verb: its fields are its flags, its docstring its help."""

    json: bool = False
    """print one JSON object on standard output"""
    debug: bool = False
    """show the traceback of an error"""

    @abstractmethod
    def run(self) -> dict[str, Any]:
        """Do it, and return what `--json` prints; without `--json`, print for people."""

    @classmethod
    def chosen(cls, args: list[str]) -> "type[Verb]":
        """The verb itself, or another one that the first of its arguments names."""
        return cls

    @classmethod
    def prepare(cls, args: list[str]) -> tuple["Verb | None", list[str]]:
        """The values that flags change, where the verb's first words choose them, and the arguments left to be read."""
        return None, args


def print_json(value: Any) -> None:
    """Print `value` as one line of JSON, in ASCII: valid in any encoding, and harmless in a terminal."""
    print(json.dumps(_finite(value)))


def print_text(value: Any) -> None:
    """Print the text of a result; the lines stay lines, and names in them may hold anything."""
    print("\n".join(map(printable, str(value).split("\n"))))


def _finite(value: Any) -> Any:
    """The value with null in place of numbers that JSON does not have."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list | tuple) else value
