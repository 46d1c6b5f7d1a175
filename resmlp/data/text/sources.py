"""The sources of parallel text: `SOURCES` maps a --data.source to the functions that open it."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from resmlp.config import Text
from resmlp.data.images.tree_files import short_list
from resmlp.data.text.files import Pairs, concatenate, read_lines
from resmlp.data.text.folder import list_names, read_pairs
from resmlp.data.text.numbers import numbers_pairs
from resmlp.data.text.tables import table_pairs
from resmlp.utils.checks import demand
from resmlp.utils.errors import UserError, did_you_mean, lookup

__all__ = ["Pairs", "open_pairs", "open_val", "read_lines"]


class Source(NamedTuple):
    """The functions that open one kind of text."""

    splits: Callable[[Text], tuple[Pairs, Pairs]]
    val: Callable[[Text], Pairs]


def open_pairs(data: Text) -> tuple[Pairs, Pairs]:
    """The training pairs and the validation pairs.

    Training pairs with an empty side are removed (`Pairs.empty_lines`); all validation pairs are kept. Raises
    `UserError` for a root or files that are missing, damaged or empty, and for files with different numbers of lines.
    """
    return _source(data).splits(data)


def open_val(data: Text) -> Pairs:
    """Only the validation pairs, to evaluate a network. Raises as `open_pairs` does."""
    return _source(data).val(data)


def _source(data: Text) -> Source:
    return lookup("--data.source", data.source, SOURCES)


def _files_pairs(data: Text) -> tuple[Pairs, Pairs]:
    root, languages = _root(data), (data.source_language, data.target_language)
    if root.is_file():
        train, val = table_pairs(data)
        for name, part in (("training", train), ("validation", val)):
            what = f"{root} has no {name} pairs"
            demand(len(part) > 0, what, "--data.train and --data.val name values of its column split")
    else:
        val = _files_val(data)  # first: it is small, so a wrong name is reported soon
        train = concatenate(read_pairs(root, name, *languages, columns=data.column_names) for name in data.train)
    nonempty = train.without_empty()
    if not nonempty.sources:
        raise UserError(f"all {len(train)} pairs of {train.file_names} have an empty side", "check the files")
    return nonempty, val


def _files_val(data: Text) -> Pairs:
    root, languages = _root(data), (data.source_language, data.target_language)
    if root.is_file():
        val = table_pairs(data)[1]
        demand(len(val) > 0, f"{root} has no validation pairs", "--data.val names a value of its column split")
        return val
    others = [name for name in list_names(root, *languages) if name not in data.train]
    hint = f"set --data.val to the name of existing files, such as {short_list(others, limit=3)}" if others else ""
    return read_pairs(root, data.val, *languages, hint, data.column_names)


def _root(data: Text) -> Path:
    """The folder of the files, or a table."""
    names = (*data.train, data.val)
    files = [f"{name}.{language}" for name in names for language in (data.source_language, data.target_language)]
    tables = ", ".join(f"{name}.tsv" for name in names)
    root_hint = f"a folder with {', '.join(files)} (or each with .gz; or {tables}), or one table"
    if data.root is None:
        raise UserError(f"--data.root is not given, and --data.source {data.source} needs it", root_hint)
    root = Path(data.root)
    if not root.is_dir() and not root.is_file():
        near = did_you_mean(root.name, [path.name for path in root.parent.iterdir()]) if root.parent.is_dir() else ""
        raise UserError(f"--data.root {root}: no such folder or file", f"{near}; give {root_hint}".removeprefix("; "))
    return root


SOURCES = {
    "files": Source(_files_pairs, _files_val),
    "numbers": Source(numbers_pairs, lambda data: numbers_pairs(data)[1]),
}
