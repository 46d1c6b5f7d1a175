"""The columns of the tables that are written: those of every image, and those of its result."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from resmlp.evaluation.batch_inference.inputs import Inputs

if TYPE_CHECKING:
    import pyarrow

SEPARATOR = "|"
"""between the classes of an image that may have several"""


class Columns(ABC):
    """The columns of one kind of result. An image that cannot be read has null in them, and the reason in `error`."""

    @abstractmethod
    def fields(self) -> "dict[str, pyarrow.DataType]":
        """The names of the columns, and their types."""

    @abstractmethod
    def values(self, results: Sequence[Any]) -> "dict[str, pyarrow.Array]":
        """The columns of the results of some images; None is one without a result."""

    def schema(self, model: str) -> "pyarrow.Schema":
        """All columns of the file; `model` is the name of the network, for the metadata."""
        import pyarrow

        text = pyarrow.string()
        columns = {"path": text, "label": text, **self.fields(), "error": text}
        return pyarrow.schema(list(columns.items()), metadata={"model": printable_text(model)})

    def table(
        self,
        schema: "pyarrow.Schema",
        inputs: Inputs,
        rows: range,
        results: Mapping[int, Any],
        errors: Mapping[int, str],
    ) -> "pyarrow.Table":
        """The table of some images. Raises `RuntimeError` unless each of them has a result or an error."""
        import pyarrow

        if len(results) + len(errors) != len(rows):
            raise RuntimeError(f"{len(results)} results and {len(errors)} errors of {len(rows)} images")
        labels = [None if (label := inputs.labels[i]) is None else printable_text(label) for i in rows]
        columns = {
            "path": pyarrow.array([printable_text(inputs.path(i)) for i in rows], pyarrow.string()),
            "label": pyarrow.array(labels, pyarrow.string()),
            **self.values([results.get(i) for i in rows]),
            "error": pyarrow.array([errors.get(i) for i in rows], pyarrow.string()),
        }
        return pyarrow.table(columns, schema=schema)


@dataclass(frozen=True)
class ClassColumns(Columns):
    """The most probable classes: class_1, probability_1, class_2 and so on."""

    top: int
    """how many"""
    several: bool = False
    """whether an image may have several classes: then `labels` has all of them from the threshold on"""

    def fields(self) -> "dict[str, pyarrow.DataType]":
        """As of `Columns`."""
        import pyarrow

        fields = {"labels": pyarrow.string()} if self.several else {}
        for rank in range(1, self.top + 1):
            fields |= {f"class_{rank}": pyarrow.string(), f"probability_{rank}": pyarrow.float32()}
        return fields

    def values(self, results: Sequence[Any]) -> "dict[str, pyarrow.Array]":
        """Of each a `Prediction`, or a `LabelSet` where an image may have several classes."""
        import pyarrow

        columns: dict[str, list[Any]] = {name: [] for name in self.fields()}
        for result in results:
            entry = {} if result is None else self._entry(result)
            for name, column in columns.items():
                column.append(entry.get(name))
        return {name: pyarrow.array(column, self.fields()[name]) for name, column in columns.items()}

    def _entry(self, result: Any) -> dict[str, Any]:
        names = result.named if self.several else result.labels
        entry = {"labels": SEPARATOR.join(result.labels)} if self.several else {}
        for rank, (name, probability) in enumerate(zip(names, result.probabilities), 1):
            entry |= {f"class_{rank}": name, f"probability_{rank}": probability}
        return entry


@dataclass(frozen=True)
class FeatureColumns(Columns):
    """The features, as a list of fixed size."""

    dim: int

    def fields(self) -> "dict[str, pyarrow.DataType]":
        """As of `Columns`."""
        import pyarrow

        return {"feature": pyarrow.list_(pyarrow.float32(), self.dim)}

    def values(self, results: Sequence[Any]) -> "dict[str, pyarrow.Array]":
        """Of each float32 D."""
        import pyarrow

        absent = np.zeros(self.dim, np.float32)
        rows = np.stack([absent if result is None else result for result in results])
        missing = pyarrow.array([result is None for result in results])
        flat = pyarrow.array(rows.reshape(-1), pyarrow.float32())
        return {"feature": pyarrow.FixedSizeListArray.from_arrays(flat, self.dim, mask=missing)}


def printable_text(text: str) -> str:
    """The text with what UTF-8 cannot hold escaped: a name of a file may have any bytes."""
    return text.encode("utf-8", "backslashreplace").decode()
