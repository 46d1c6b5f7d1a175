"""Images in a column of a Parquet file, read one row group at a time, from any process."""

import io
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, BinaryIO

from resmlp.config.preprocessing import Decoding
from resmlp.imaging.decode import DEFAULT
from resmlp.imaging.image_file import InArchive

KEPT = 2**28
"""bytes of row groups that a process keeps; the last one stays, however large it is"""


@dataclass(frozen=True, slots=True)
class ParquetImage(InArchive):
    """The bytes of an image file in one row of a Parquet file."""

    column: str
    """the column of bytes; that of a struct is STRUCT.FIELD"""
    group: int
    """the row group"""
    row: int
    """the row in its group"""
    decoding: Decoding = DEFAULT

    def open(self) -> BinaryIO:
        """The bytes; raises `OSError` for a row without bytes."""
        data = _row_groups.read(self.archive, self.group, self.column)[self.row].as_py()
        if not isinstance(data, bytes):
            raise OSError("the row has no bytes of an image")
        return io.BytesIO(data)


class RowGroups:
    """The columns of the row groups that were read last. No file stays open, so that processes may be forked."""

    def __init__(self) -> None:
        self.columns: OrderedDict[tuple[str, int, str], Any] = OrderedDict()

    def read(self, file: str, group: int, column: str) -> Any:
        """The column in a row group, as Arrow's chunked array of bytes."""
        key = (file, group, column)
        values = self.columns.pop(key, None)
        if values is None:
            values = _read(file, group, column)
        self.columns[key] = values  # the last one is the newest
        while len(self.columns) > 1 and sum(kept.nbytes for kept in self.columns.values()) > KEPT:
            self.columns.popitem(last=False)
        return values


def _read(file: str, group: int, column: str) -> Any:
    from pyarrow.parquet import ParquetFile

    with ParquetFile(file, pre_buffer=False) as opened:
        # the threads of Arrow do not exist in a forked process
        values = opened.read_row_group(group, columns=[column], use_threads=False).column(0)
    if "." in column and column not in opened.schema_arrow.names:
        from pyarrow.compute import struct_field

        values = struct_field(values, [0])  # only this field was read
    return values


_row_groups = RowGroups()
