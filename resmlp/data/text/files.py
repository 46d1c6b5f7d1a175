"""Parallel text on disk: two files with equal numbers of lines, or a table with two columns; UTF-8, perhaps gzipped."""

import gzip
import math
import zlib
from codecs import BOM_UTF8
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from resmlp.data.images.tree_files import short_list
from resmlp.utils.errors import UserError

MAX_LINE = 2**21
"""bytes of a line: the tokenizer needs 50 times as much memory for it"""
FREE, MAX_RATIO = 2**26, 20
"""bytes of a gzipped text when unpacked: these, and so many for each byte of the file; a text shrinks to 1/3"""


@dataclass(frozen=True)
class Pairs:
    """Sentences and their translations."""

    sources: list[str]
    targets: list[str]
    files: tuple[tuple[str, int], ...]
    """the files in order: a name for messages, and the number of lines"""
    empty_lines: tuple[int, ...] = ()
    """the lines of all files, from 0 and in order, that are not in the pairs because one side has no text"""

    def __len__(self) -> int:
        return len(self.sources)

    @property
    def file_names(self) -> str:
        """The names of the files, for messages."""
        return ", ".join(name for name, _ in self.files)

    def location(self, index: int) -> str:
        """The files and the line, from 1, of pair `index`, from 0."""
        for line in self.empty_lines:
            if line > index:
                break
            index += 1
        for name, lines in self.files:
            if index < lines:
                return f"{name}, line {index + 1}"
            index -= lines
        raise IndexError(index)

    def without_empty(self) -> "Pairs":
        """The pairs with text on both sides. Must not be called twice."""
        empty = {i for i, pair in enumerate(zip(self.sources, self.targets)) if not all(map(str.strip, pair))}
        sources, targets = ([line for i, line in enumerate(s) if i not in empty] for s in (self.sources, self.targets))
        return Pairs(sources, targets, self.files, tuple(sorted(empty)))


def make_pairs(sources: list[str], targets: list[str], name: str) -> Pairs:
    """The pairs of one file, or of two parallel files, with the given `name` in messages."""
    return Pairs(sources, targets, ((name, len(sources)),))


def concatenate(parts: Iterable[Pairs]) -> Pairs:
    """The pairs of all parts in order; the parts must still have their empty lines."""
    parts = list(parts)
    return Pairs(
        [line for part in parts for line in part.sources],
        [line for part in parts for line in part.targets],
        tuple(file for part in parts for file in part.files),
    )


def read_pairs(folder: Path, name: str, source: str, target: str, hint: str = "") -> Pairs:
    """Read NAME.source and NAME.target in the folder, or NAME.tsv (source, tab, target); each may end in .gz.

    A plain file is preferred to a gzipped one, and two files to a table. Raises `UserError` for files that are missing,
    damaged or empty, or have different numbers of lines; `hint` is the hint for missing files.
    """
    first, second = (_file(folder, f"{name}.{language}") for language in (source, target))
    table = _file(folder, f"{name}.tsv")
    if first and second:
        pairs = make_pairs(read_lines(first), read_lines(second), f"{first} and {second.name}")
        _check_counts(pairs, first.name, second.name)
    elif table:
        pairs = make_pairs(*_columns(table), str(table))
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
        endings = (f".{source}", f".{target}", ".tsv")
        first, second, table = ({f.removesuffix(end) for f in files if f.endswith(end)} for end in endings)
        return sorted((first & second | table) - {""})
    return []


def read_lines(path: Path) -> list[str]:
    r"""The lines of a text file; a name that ends in .gz is a gzipped file.

    Only "\n" ends a line, and a "\r" before it is removed; no-break spaces, U+0085 and U+2028 are ordinary characters.
    Raises `UserError` for a file that cannot be read, is damaged, is not UTF-8, or has a line of more than `MAX_LINE`
    bytes.
    """
    lines: list[str] = []
    zipped = path.name.endswith(".gz")
    try:
        with (gzip.open if zipped else open)(path, "rb") as file:
            room = FREE + MAX_RATIO * path.stat().st_size if zipped else math.inf
            while line := file.readline(MAX_LINE + 1):  # a binary file is split only at b"\n"
                room -= len(line)
                if len(line) > MAX_LINE:
                    what = f"{path}, line {len(lines) + 1}, has more than {MAX_LINE:,} bytes"
                    raise UserError(what, "is it text, a sentence a line?")
                if room < 0:
                    what = f"{path} is too large when unpacked, from line {len(lines) + 1} on"
                    raise UserError(what, "if it is text, unpack it")
                text = line.removesuffix(b"\n").removesuffix(b"\r")
                lines.append((text if lines else text.removeprefix(BOM_UTF8)).decode())
    except UnicodeDecodeError:
        hint = "save it as UTF-8; the name of a gzipped file must end in .gz"
        raise UserError(f"{path}, line {len(lines) + 1}, is not UTF-8", hint) from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(
            f"{path} is damaged after {len(lines)} lines: {error}", "download or compress it again"
        ) from None
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}", "check its permissions") from None
    return lines


def _file(folder: Path, name: str) -> Path | None:
    """The file of this name, or the gzipped one."""
    return next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)


def _columns(path: Path) -> tuple[list[str], list[str]]:
    """The two columns of a table."""
    rows = [line.split("\t") for line in read_lines(path)]
    for number, row in enumerate(rows, 1):
        if len(row) != 2:
            hint = "a line is a sentence, a tab and its translation; `cut -f1,2` removes other columns"
            raise UserError(f"{path}, line {number}, has {len(row) - 1} tabs", hint)
    return [row[0] for row in rows], [row[1] for row in rows]


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
