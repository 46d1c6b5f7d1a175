"""Columns of text from a Parquet file, in bounded memory."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from resmlp.data.text.files import FREE, MAX_LINE, MAX_RATIO
from resmlp.utils.checks import demand
from resmlp.utils.errors import UserError, install_hint

MAGIC = b"PAR1"
ROW = 8  # bytes that a row needs at least


def is_parquet(path: Path) -> bool:
    """Whether a file begins like a Parquet file."""
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def text_columns(path: Path) -> list[str]:
    """The names of the columns of text, in order. Raises `UserError` if the file cannot be read."""
    with _opened(path) as file:
        return _names(file)


def other_columns(path: Path) -> list[str]:
    """The names of the columns of bytes and of nested values, such as images. Raises `UserError` as `text_columns`."""
    import pyarrow

    with _opened(path) as file:
        types = pyarrow.types
        nested = (types.is_binary, types.is_large_binary, types.is_fixed_size_binary, types.is_nested)
        return [field.name for field in file.schema_arrow if any(test(field.type) for test in nested)]


def read_columns(path: Path, names: list[str]) -> list[list[str]]:
    """The text of the named columns; null is an empty text.

    Equal texts of a block are one object, so that a small file cannot become large in memory. Raises `UserError` if
    the file is damaged, or is too large when unpacked.
    """
    room = FREE + MAX_RATIO * path.stat().st_size
    columns: list[list[str]] = [[] for _ in names]
    large = UserError(f"{path} is too large when unpacked", "if it is text, write it again in several files")
    with _opened(path, names) as file:
        # pyarrow ends the process if the metadata of a single column are damaged, so only those of groups are read
        if any(file.metadata.row_group(group).total_byte_size > room for group in range(file.num_row_groups)):
            raise large
        for batch in file.iter_batches(batch_size=2**14, columns=names):
            for column, array in zip(columns, (batch.column(name) for name in names)):
                texts = [text or "" for text in array.dictionary.to_pylist()]
                longest = max(map(len, texts), default=0)
                what = f"{path} has a text of more than {MAX_LINE:,} characters near row {len(column) + 1}"
                demand(longest <= MAX_LINE, what, "is it text, a sentence a row?")
                rows = ["" if index is None else texts[index] for index in array.indices.to_pylist()]
                room -= sum(ROW + len(text) for text in rows)
                if room < 0:
                    raise large
                column += rows
    return columns


def _names(file: Any) -> list[str]:
    import pyarrow

    def is_text(kind: Any) -> bool:
        kind = kind.value_type if pyarrow.types.is_dictionary(kind) else kind
        return pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind)

    return [field.name for field in file.schema_arrow if is_text(field.type)]


@contextmanager
def _opened(path: Path, dictionaries: list[str] | None = None) -> Iterator[Any]:
    """The file as pyarrow opens it; its errors become `UserError`."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        what = f"{path} is a Parquet file, and pyarrow is not installed"
        raise UserError(what, install_hint("parquet")) from None
    try:
        with pyarrow.parquet.ParquetFile(path, read_dictionary=dictionaries) as file:
            yield file
    except UserError:
        raise
    except UnicodeDecodeError:
        raise UserError(f"{path} has text that is not UTF-8", "write it again with UTF-8") from None
    except (pyarrow.ArrowException, OSError, MemoryError, ValueError, LookupError) as error:
        reason = str(error).splitlines()[0][:80] if str(error) else type(error).__name__
        raise UserError(f"{path} is a damaged Parquet file: {reason}", "download or write it again") from None
