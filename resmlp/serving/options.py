"""The options of each operation, the same in JSON, in a form and in the address of a request."""

import re
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from resmlp.serving.limits import Refusal
from resmlp.utils.checks import check_range
from resmlp.utils.errors import UserError
from resmlp.utils.serialization import from_dict

WIDEST = 16
"""hypotheses of a search that a request may ask for"""
INTEGER = re.compile("-?[0-9]{1,18}")
"""`int` takes other words as well, such as 1_0, +1 and the digits of other scripts"""


@dataclass(frozen=True)
class PredictOptions:
    """Of /v1/predict."""

    model: str | None = None
    """the network; may be left out where only one predicts"""
    top: int = 5
    """classes to name"""
    size: str | None = None
    """HEIGHTxWIDTH of the network's input, one of the model's `sizes`; its own where it is left out"""

    def __post_init__(self) -> None:
        check_range("", self, top=(1, 100_000))


@dataclass(frozen=True)
class EmbedOptions:
    """Of /v1/embed."""

    model: str | None = None
    """the network; may be left out where only one embeds"""
    size: str | None = None
    """as of /v1/predict"""


@dataclass(frozen=True)
class SegmentOptions:
    """Of /v1/segment."""

    model: str | None = None
    """the network; may be left out where only one segments"""
    format: Literal["png", "runs"] = "png"
    """of the labels: a PNG of class indices, or (class index, number of pixels) row by row"""


@dataclass(frozen=True)
class TranslateOptions:
    """Of /v1/translate."""

    model: str | None = None
    """the network; may be left out where only one translates"""
    beam: int | None = None
    """hypotheses that the search keeps; as the run was evaluated where it is left out"""

    def __post_init__(self) -> None:
        check_range("", self, beam=(1, WIDEST))


@dataclass(frozen=True)
class LookOptions:
    """Of /v1/look."""

    row: int
    """of the patch, from 0 at the top"""
    column: int
    """of the patch, from 0 at the left"""
    layer: int = 0
    """from 0"""
    model: str | None = None
    """the network; may be left out where only one has such layers"""
    size: str | None = None
    """as of /v1/predict; row and column are those of the patches at this size"""


Options = PredictOptions | EmbedOptions | SegmentOptions | TranslateOptions | LookOptions
T = TypeVar("T", bound=Options)


def read_options(kind: type[T], words: Mapping[str, str], values: Mapping[str, Any]) -> T:
    """The options from the words of an address or form, and from the values of JSON, which count more.

    Raises `Refusal` 422 for one that is unknown or of another type.
    """
    hints = typing.get_type_hints(kind)
    try:
        return from_dict(kind, {**{key: _value(hints.get(key), word) for key, word in words.items()}, **values})
    except UserError as error:
        raise Refusal(422, str(error)) from None


def _value(hint: Any, word: str) -> Any:
    """The word as a number where the option is one."""
    whole = int in (hint, *typing.get_args(hint)) and INTEGER.fullmatch(word)
    return int(word) if whole else word
