"""Labels, images and paths of some rows of an index, as sequences: each value is made when it is asked for."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, Self, TypeVar, overload

import numpy as np

from resmlp.config.preprocessing import Decoding
from resmlp.data.shards.index import Index
from resmlp.imaging.decode import DEFAULT
from resmlp.imaging.image_file import ImageSource

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Table(Protocol):
    """An index: that of a packed data set, whose rows are places in shards, or one whose rows are files."""

    digest: str
    """identifies the content of the index"""

    def __len__(self) -> int: ...

    def name(self, row: int) -> str:
        """The path of an image in the data set."""

    def member(self, row: int, decoding: Decoding) -> ImageSource:
        """An image."""


@dataclass(frozen=True, eq=False)
class Rows(Sequence[T_co], ABC):
    """A value of each of these rows."""

    packed: Table
    rows: range | np.ndarray
    """int32 or int64, one dimension"""

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, i: int) -> T_co: ...

    @overload
    def __getitem__(self, i: slice) -> Self: ...

    def __getitem__(self, i: Any) -> Any:
        return replace(self, rows=self.rows[i]) if isinstance(i, slice) else self.value(int(self.rows[i]))

    def __add__(self, other: "Rows[Any]") -> Self:
        """The rows of both; they are of one index."""
        return replace(self, rows=np.concatenate([self.numbers(), other.numbers()]))

    @abstractmethod
    def value(self, row: int) -> T_co:
        """The value of a row of the index."""

    def numbers(self) -> np.ndarray:
        """The numbers of the rows: int32, or int64 in a large index."""
        dtype = np.dtype(np.int32 if len(self.packed) < 2**31 else np.int64)
        if isinstance(self.rows, range):
            return np.arange(self.rows.start, self.rows.stop, self.rows.step, dtype=dtype)
        return self.rows.astype(dtype, copy=False)

    def take(self, places: Iterable[int]) -> Self:
        """The values at these places, in this order."""
        chosen = places if isinstance(places, np.ndarray) else np.fromiter(places, np.int64)
        return replace(self, rows=self.numbers()[chosen])


@dataclass(frozen=True, eq=False)
class Numbers(Rows[int]):
    """A number of each row, from a column with a number of each row of the index; also an int32 array."""

    @property
    @abstractmethod
    def column(self) -> Any:
        """What gives the number of a row, and those of a slice or an array of rows."""

    def value(self, row: int) -> int:
        """The number of a row of the index."""
        return int(self.column[row])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        rows = self.rows
        contiguous = isinstance(rows, range) and rows.step == 1  # then no copy of a mapped column is made
        values = self.column[slice(rows.start, rows.stop) if contiguous else self.numbers()]  # type: ignore[union-attr]
        return np.array(values, dtype) if copy else np.asarray(values, dtype)


@dataclass(frozen=True, eq=False)
class Labels(Numbers):
    """The label of each row of a packed data set."""

    packed: Index

    @property
    def column(self) -> np.ndarray:
        """The labels of all rows."""
        return self.packed.label


@dataclass(frozen=True, eq=False)
class Steps:
    """A number of each row of an index that changes in few rows: R runs of rows have the same."""

    first: np.ndarray
    """int64 R: the first row of each run, in ascending order"""
    number: np.ndarray
    """int32 R: that of each row from there on"""

    @classmethod
    def of(cls, runs: Iterable[tuple[range, int]]) -> "Steps":
        """Those of runs of rows, each with its number; no two overlap."""
        found = sorted((run.start, number) for run, number in runs if run)
        first, number = np.array(found, np.int64).reshape(-1, 2).T
        return cls(first, number.astype(np.int32))

    def __getitem__(self, rows: int | slice | np.ndarray) -> Any:
        places = np.arange(rows.start, rows.stop) if isinstance(rows, slice) else rows
        return self.number[np.searchsorted(self.first, places, "right") - 1]

    def __or__(self, other: "Steps") -> "Steps":
        """Those of the runs of both, none of which overlap but those that both have."""
        first, places = np.unique(np.concatenate([self.first, other.first]), return_index=True)
        return Steps(first, np.concatenate([self.number, other.number])[places])


@dataclass(frozen=True, eq=False)
class StepLabels(Numbers):
    """The label of each row, where all rows of a folder have one: then it needs no memory for each image."""

    steps: Steps

    @property
    def column(self) -> Steps:
        """The label of each row of the index."""
        return self.steps

    def __add__(self, other: Rows[Any]) -> Self:
        """The rows of both; they are of one index."""
        assert isinstance(other, StepLabels)
        return replace(super().__add__(other), steps=self.steps | other.steps)


@dataclass(frozen=True, eq=False)
class Paths(Rows[str]):
    """The path of each row in the data set."""

    folder: str = ""
    """what is left out of the paths"""

    def value(self, row: int) -> str:
        """The path of a row of the index."""
        return self.packed.name(row).removeprefix(self.folder)


@dataclass(frozen=True, eq=False)
class Images(Rows[ImageSource]):
    """The image of each row."""

    decoding: Decoding = DEFAULT

    def value(self, row: int) -> ImageSource:
        """The image of a row of the index."""
        return self.packed.member(row, self.decoding)

    def decoded(self, decoding: Decoding) -> "Images":
        """The same images, decoded so."""
        return replace(self, decoding=decoding)


@dataclass(frozen=True, eq=False)
class Members(Rows[tuple[str, ImageSource]]):
    """The path of each row below a folder of the data set, and its image, as a tree of files lists them."""

    folder: str = ""
    """what is left out of the paths"""

    def value(self, row: int) -> tuple[str, ImageSource]:
        """(path, image) of a row of the index."""
        return self.packed.name(row).removeprefix(self.folder), self.packed.member(row, DEFAULT)


@dataclass(frozen=True, eq=False)
class Entries(Members):
    """Those of a packed data set."""

    packed: Index


def chosen(columns: Mapping[str, Sequence[Any]], places: np.ndarray) -> dict[str, Any]:
    """The values of these images in each column, which is empty where the set has none."""
    rows = {id(values.rows): values for values in columns.values() if isinstance(values, Rows)}
    taken = {number: values.take(places).rows for number, values in rows.items()}  # columns share their rows
    return {
        name: replace(values, rows=taken[id(values.rows)]) if isinstance(values, Rows) else _listed(values, places)
        for name, values in columns.items()
    }


def _listed(values: Sequence[T], places: np.ndarray) -> Sequence[T]:
    listed = [values[i] for i in places.tolist()] if values else []
    return tuple(listed) if isinstance(values, tuple) else listed


def joined(first: Sequence[T], second: Sequence[T]) -> Sequence[T]:
    """The values of both sets, which have the same kind of them or none."""
    if not first or not second:
        return first or second
    if isinstance(first, Rows) and isinstance(second, Rows):
        return first + second
    return (*first, *second) if isinstance(first, tuple) else [*first, *second]
