"""The answers of the API as dataclasses: the server writes them, the client reads them, OpenAPI describes them."""

import dataclasses
import types
import typing
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Ranked:
    """A class and its probability."""

    label: str
    probability: float


@dataclass(frozen=True)
class Prediction:
    """The most probable classes of one image."""

    name: str
    """of the file, or image 1, image 2, ..."""
    top: tuple[Ranked, ...]
    """the most probable class first"""
    seen: tuple[float, float, float, float]
    """what the network sees of the upright image: left, top, right, bottom, from 0 to 1"""

    @property
    def label(self) -> str:
        """The most probable class."""
        return self.top[0].label


@dataclass(frozen=True)
class Predictions:
    """The answer of /v1/predict."""

    model: str
    predictions: tuple[Prediction, ...]


@dataclass(frozen=True)
class Embedding:
    """The features of one image: the input of the network's head."""

    name: str
    values: tuple[float, ...]


@dataclass(frozen=True)
class Embeddings:
    """The answer of /v1/embed."""

    model: str
    embeddings: tuple[Embedding, ...]


@dataclass(frozen=True)
class Region:
    """A class that occurs in a segmentation."""

    index: int
    """the value of its pixels"""
    label: str
    color: tuple[int, int, int]
    """red, green, blue, to draw it"""
    share: float
    """of the pixels"""


@dataclass(frozen=True)
class Segmentation:
    """The class of each pixel of one upright image."""

    name: str
    width: int
    height: int
    classes: tuple[Region, ...]
    """those that occur, the largest share first"""
    png: str | None = None
    """base64 of a PNG with a palette, whose pixels are class indices"""
    runs: tuple[tuple[int, int], ...] | None = None
    """(class index, number of pixels), row by row"""


@dataclass(frozen=True)
class Segmentations:
    """The answer of /v1/segment."""

    model: str
    segmentations: tuple[Segmentation, ...]


@dataclass(frozen=True)
class Translation:
    """The translation of one sentence."""

    text: str
    score: float
    """log-probability over a power of the length; higher is better"""


@dataclass(frozen=True)
class Translations:
    """The answer of /v1/translate."""

    model: str
    translations: tuple[Translation, ...]


@dataclass(frozen=True)
class Row:
    """The row of A of one patch: the answer of /v1/look."""

    model: str
    layer: int
    name: str
    """of the layer"""
    patch: tuple[int, int]
    """row and column, from 0"""
    weights: tuple[tuple[float, ...], ...]
    """of each patch of the grid, row by row"""
    largest: float
    """the largest magnitude in all of A"""


@dataclass(frozen=True)
class Layer:
    """A layer that has a matrix A over the patches."""

    number: int
    name: str
    grid: tuple[int, int]
    """patches down and across"""


@dataclass(frozen=True)
class Model:
    """A network of the server, and what it does."""

    name: str
    about: tuple[str, ...]
    """the architecture, the size of the inputs, the number of classes"""
    operations: tuple[str, ...]
    """predict, segment, translate, embed, look"""
    size: tuple[int, int] | None
    """height and width of the images that the network was trained for; null for text"""
    sizes: tuple[tuple[int, int], ...]
    """those that a request may ask for, the smallest first"""
    upright: bool
    """whether images are turned by their EXIF orientation"""
    classes: tuple[str, ...]
    layers: tuple[Layer, ...]
    """those of /v1/look"""


@dataclass(frozen=True)
class Models:
    """The answer of /v1/models."""

    models: tuple[Model, ...]


@dataclass(frozen=True)
class Failure:
    """The answer to a request that is refused."""

    error: str
    """one line"""


def read(cls: type[T], value: Any) -> T:
    """The dataclass of an answer in JSON; fields that a newer server adds are passed over."""
    hints = typing.get_type_hints(cls)
    return cls(**{key: _read(hints[key], part) for key, part in value.items() if key in hints})


def _read(hint: Any, value: Any) -> Any:
    args = typing.get_args(hint)
    if typing.get_origin(hint) is types.UnionType:
        return None if value is None else _read(args[0], value)
    if dataclasses.is_dataclass(hint):
        return read(typing.cast(type, hint), value)
    if typing.get_origin(hint) is tuple:
        return tuple(_read(args[0], item) for item in value)
    return value
