"""Parallel text in a folder: for each part two files with equal numbers of lines, or a table."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType

from resmlp.data.images.tree_files import short_list
from resmlp.data.text.files import Pairs, make_pairs, read_lines
from resmlp.data.text.tables import read_table
from resmlp.utils.errors import UserError


def read_pairs(
    folder: Path, name: str, source: str, target: str, hint: str = "", columns: Mapping[str, str] = MappingProxyType({})
) -> Pairs:
    """Read NAME.source and NAME.target in the folder, or the table NAME.tsv or NAME.parquet; text may end in .gz.

    A plain file is preferred to a gzipped one, and two files to a table, of which `columns` names the columns. Raises
    `UserError` for files that are missing, damaged or empty, or have different numbers of lines; `hint` is the hint for
    missing files.
    """
    first, second = (_file(folder, f"{name}.{language}") for language in (source, target))
    table = _file(folder, f"{name}.tsv") or _file(folder, f"{name}.parquet")
    if first and second:
        pairs = make_pairs(read_lines(first), read_lines(second), f"{first} and {second.name}")
        _check_counts(pairs, first.name, second.name)
    elif table:
        rows = read_table(table, (source, target), columns)
        pairs = rows.pairs(range(len(rows.sources)), str(table))
    else:
        files = {f"{name}.{source}": first, f"{name}.{target}": second}
        raise _missing(folder, [file for file, path in files.items() if not path], f"{name}.tsv", hint)
    if not pairs.sources:
        hint = "line N of one file must be the translation of line N of the other"
        raise UserError(f"{pairs.file_names} without lines", hint)
    return pairs


def list_names(folder: Path, source: str, target: str) -> list[str]:
    """Every NAME in the folder that `read_pairs` can read, in order."""
    with suppress(OSError):
        files = {child.name.removesuffix(".gz") for child in folder.iterdir() if child.is_file()}
        endings = (f".{source}", f".{target}", ".tsv", ".parquet")
        first, second, *tables = ({f.removesuffix(end) for f in files if f.endswith(end)} for end in endings)
        return sorted((first & second).union(*tables) - {""})
    return []


def _file(folder: Path, name: str) -> Path | None:
    """The file of this name, or the gzipped one."""
    return next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)


def _check_counts(pairs: Pairs, source: str, target: str) -> None:
    sources, targets = len(pairs.sources), len(pairs.targets)
    if sources != targets:
        longer = source if sources > targets else target
        what = f"{pairs.file_names} have {sources} and {targets} lines: "
        what += f"line {min(sources, targets) + 1} of {longer} has no translation"
        raise UserError(what, "line N of one file must be the translation of line N of the other")


def _missing(folder: Path, files: list[str], table: str, hint: str) -> UserError:
    missing = " and ".join(f"no {file} or {file}.gz" for file in files)
    try:
        present = short_list((child.name for child in folder.iterdir()), limit=12)
    except OSError as error:
        return UserError(f"cannot list {folder}: {error.strerror}", "check its permissions")
    state = f"the folder has {present}" if present else "the folder is empty"
    hint = hint or f"--data.train and --data.val name the files without extensions; {state}"
    return UserError(f"{missing}, nor {table}, in {folder}", hint)
