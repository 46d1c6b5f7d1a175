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


def text_columns(path: Path) -> dict[str, str]:
    """From the names of the columns of text, in order, to their paths. Raises `UserError` if the file cannot be read.

    The text en in a column translation, as Hugging Face has it, is named en, and its path is translation.en; it is
    named so, too, where another column is called en.
    """
    with _opened(path) as file:
        paths = [(field.name, inner) for field in file.schema_arrow for inner in _texts(field)]
    columns: dict[str, str] = {}
    for outer, inner in sorted(paths, key=lambda path: path[1] != ""):  # stable: names of whole columns come first
        whole = f"{outer}.{inner}" if inner else outer
        columns[inner if inner and inner not in columns else whole] = whole
    return columns


def other_columns(path: Path) -> list[str]:
    """The names of the columns of bytes and of nested values, such as images, but for those of several texts.

    Raises `UserError` as `text_columns`.
    """
    with _opened(path) as file:
        return [field.name for field in file.schema_arrow if _is_other(field.type) and not _texts(field)]


def read_columns(path: Path, paths: list[str]) -> list[list[str]]:
    """The text of the columns with these paths; null is an empty text.

    Equal texts of a block are one object, so that a small file cannot become large in memory. Raises `UserError` if
    the file is damaged, or is too large when unpacked.
    """
    room = FREE + MAX_RATIO * path.stat().st_size
    columns: list[list[str]] = [[] for _ in paths]
    large = UserError(f"{path} is too large when unpacked", "if it is text, write it again in several files")
    with _opened(path, paths) as file:
        # pyarrow ends the process if the metadata of a single column are damaged, so only those of groups are read
        if any(file.metadata.row_group(group).total_byte_size > room for group in range(file.num_row_groups)):
            raise large
        for batch in file.iter_batches(batch_size=2**14, columns=paths):
            for column, array in zip(columns, (_column(batch, path) for path in paths)):
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


def _column(batch: Any, path: str) -> Any:
    """The column of a block with this path."""
    from pyarrow.compute import struct_field

    if path in batch.schema.names:
        return batch.column(path)
    outer = next(name for name in batch.schema.names if path.startswith(f"{name}."))
    return struct_field(batch.column(outer), path.removeprefix(f"{outer}."))


def _texts(field: Any) -> list[str]:
    """The names of the texts inside a column, [""] for a column of text; none beside bytes, as of an image."""
    from pyarrow.types import is_struct

    if not is_struct(field.type):
        return [""] * _is_text(field.type)
    inner = list(field.type)
    return [] if any(_is_other(part.type) for part in inner) else [part.name for part in inner if _is_text(part.type)]


def _is_text(kind: Any) -> bool:
    from pyarrow.types import is_dictionary, is_large_string, is_string

    kind = kind.value_type if is_dictionary(kind) else kind
    return bool(is_string(kind) or is_large_string(kind))


def _is_other(kind: Any) -> bool:
    """Whether values are bytes or nested."""
    from pyarrow.types import is_binary, is_fixed_size_binary, is_large_binary, is_nested

    return any(test(kind) for test in (is_binary, is_large_binary, is_fixed_size_binary, is_nested))


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
