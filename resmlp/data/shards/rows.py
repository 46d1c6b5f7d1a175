"""Labels, images and paths of some rows of an index, as sequences: each value is made when it is asked for."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self, TypeVar, overload

import numpy as np

from resmlp.config.preprocessing import Decoding
from resmlp.data.shards.index import Index
from resmlp.imaging.decode import DEFAULT
from resmlp.imaging.image_file import ImageSource

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, eq=False)
class Rows(Sequence[T_co], ABC):
    """A value of each of these rows."""

    packed: Index
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


class Labels(Rows[int]):
    """The label of each row; also an int32 array."""

    def value(self, row: int) -> int:
        """The label of a row of the index."""
        return int(self.packed.label[row])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        rows = self.rows
        contiguous = isinstance(rows, range) and rows.step == 1  # then no copy is made
        values = self.packed.label[slice(rows.start, rows.stop) if contiguous else self.numbers()]  # type: ignore[union-attr]
        return np.array(values, dtype) if copy else np.asarray(values, dtype)


class Paths(Rows[str]):
    """The path of each row in the data set."""

    def value(self, row: int) -> str:
        """The path of a row of the index."""
        return self.packed.name(row)


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

    def of_first_shard(self) -> "Images":
        """Those that are in the same shard as the first of them."""
        shards = self.packed.shard[self.numbers()]
        return self.take(np.flatnonzero(shards == shards[0]))


@dataclass(frozen=True, eq=False)
class Entries(Rows[tuple[str, ImageSource]]):
    """The path of each row below a folder of the data set, and its image, as a tree of files lists them."""

    folder: str = ""
    """what is left out of the paths"""

    def value(self, row: int) -> tuple[str, ImageSource]:
        """(path, image) of a row of the index."""
        return self.packed.name(row).removeprefix(self.folder), self.packed.member(row, DEFAULT)


def chosen(values: Sequence[T], places: np.ndarray) -> Sequence[T]:
    """The values of these images; empty where the set has none."""
    if isinstance(values, Rows):
        return values.take(places)
    chosen = [values[i] for i in places.tolist()] if values else []
    return tuple(chosen) if isinstance(values, tuple) else chosen


def joined(first: Sequence[T], second: Sequence[T]) -> Sequence[T]:
    """The values of both sets, which have the same kind of them."""
    if isinstance(first, Rows) and isinstance(second, Rows):
        return first + second
    return (*first, *second) if isinstance(first, tuple) else [*first, *second]
