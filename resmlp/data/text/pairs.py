"""Parallel text on disk: two files of as many lines, or one of two columns; each plain or gzipped, in UTF-8."""

import gzip
import zlib
from codecs import BOM_UTF8
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from resmlp.data.images.trees import short_list
from resmlp.utils.errors import UserError


@dataclass(frozen=True)
class Pairs:
    """Sentences, and a translation of each."""

    sources: list[str]
    targets: list[str]
    files: tuple[tuple[str, int], ...]
    """where they come from, one after the other: a name for messages, and its lines"""
    left_out: tuple[int, ...] = ()
    """which of all these lines have no pair here, as a side of them has no text; from 0, in order"""

    def __len__(self) -> int:
        return len(self.sources)

    @property
    def where(self) -> str:
        """The files, for messages."""
        return ", ".join(name for name, _ in self.files)

    def place(self, number: int) -> str:
        """The files and the line, from 1, of the pair of this number, from 0."""
        for line in self.left_out:
            if line > number:
                break
            number += 1
        for name, lines in self.files:
            if number < lines:
                return f"{name}, line {number + 1}"
            number -= lines
        raise IndexError(number)

    def filled(self) -> "Pairs":
        """The pairs of which both sides have text; of a whole that nothing was left out of yet."""
        empty = {i for i, pair in enumerate(zip(self.sources, self.targets)) if not all(map(str.strip, pair))}
        sources, targets = ([line for i, line in enumerate(s) if i not in empty] for s in (self.sources, self.targets))
        return Pairs(sources, targets, self.files, tuple(sorted(empty)))


def pairs_of(sources: list[str], targets: list[str], name: str) -> Pairs:
    """The pairs of one file, or of two that belong together, called `name` in messages."""
    return Pairs(sources, targets, ((name, len(sources)),))


def joined(parts: Iterable[Pairs]) -> Pairs:
    """The pairs of all parts, of which nothing was left out, one part after the other."""
    parts = list(parts)
    return Pairs(
        [line for part in parts for line in part.sources],
        [line for part in parts for line in part.targets],
        tuple(file for part in parts for file in part.files),
    )


def read_pairs(folder: Path, name: str, source: str, target: str, instead: str = "") -> Pairs:
    """NAME.source and NAME.target in the folder, or NAME.tsv: source, tab, target; each perhaps as .gz.

    Where there are both the plain and the gzipped file, or files and table, the first of these is read. Raises
    `UserError` for files that are missing, broken, empty, or not as many lines; `instead` is what to try where they
    are missing.
    """
    first, second = (_file(folder, f"{name}.{language}") for language in (source, target))
    table = _file(folder, f"{name}.tsv")
    if first and second:
        pairs = pairs_of(read_lines(first), read_lines(second), f"{first} and {second.name}")
        _check_counts(pairs, first.name, second.name)
    elif table:
        pairs = pairs_of(*_columns(table), str(table))
    else:
        there = {f"{name}.{source}": first, f"{name}.{target}": second}
        raise _missing(folder, [file for file, found in there.items() if not found], f"{name}.tsv", instead)
    if not pairs.sources:
        raise UserError(f"{pairs.where} without a line", "a line of one is the translation of that line of the other")
    return pairs


def names_in(folder: Path, source: str, target: str) -> list[str]:
    """Every NAME that `read_pairs` finds in the folder, in order."""
    with suppress(OSError):
        files = {child.name.removesuffix(".gz") for child in folder.iterdir() if child.is_file()}
        endings = (f".{source}", f".{target}", ".tsv")
        first, second, table = ({f.removesuffix(end) for f in files if f.endswith(end)} for end in endings)
        return sorted((first & second | table) - {""})
    return []


def read_lines(path: Path) -> list[str]:
    r"""The lines of a file, or of a gzipped one whose name ends in .gz.

    "\n" alone ends a line, whose "\r" before it goes; a no-break space, U+0085 or U+2028 is a character like others.
    Raises `UserError` for a file that cannot be read, is damaged, or is not UTF-8.
    """
    lines: list[str] = []
    opener = gzip.open if path.name.endswith(".gz") else open
    try:
        with opener(path, "rb") as file:
            for line in file:  # of bytes, which are divided at b"\n" only
                text = line.removesuffix(b"\n").removesuffix(b"\r")
                lines.append((text if lines else text.removeprefix(BOM_UTF8)).decode())
    except UnicodeDecodeError:
        hint = "save it as UTF-8; what is gzipped must end in .gz"
        raise UserError(f"{path}, line {len(lines) + 1}, is not UTF-8", hint) from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"{path} is damaged after {len(lines)} lines: {error}", "fetch or pack it again") from None
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}", "see to its permissions") from None
    return lines


def _file(folder: Path, name: str) -> Path | None:
    """The file of this name, else the gzipped one."""
    return next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)


def _columns(path: Path) -> tuple[list[str], list[str]]:
    """The two columns of a table."""
    rows = [line.split("\t") for line in read_lines(path)]
    for number, row in enumerate(rows, 1):
        if len(row) != 2:
            hint = "a line is a sentence, a tab, its translation; of a table of more columns, `cut -f1,2` keeps two"
            raise UserError(f"{path}, line {number}, has {len(row) - 1} tabs", hint)
    return [row[0] for row in rows], [row[1] for row in rows]


def _check_counts(pairs: Pairs, source: str, target: str) -> None:
    ours, theirs = len(pairs.sources), len(pairs.targets)
    if ours != theirs:
        longer = source if ours > theirs else target
        what = f"{pairs.where} have {ours} and {theirs} lines: line {min(ours, theirs) + 1} of {longer} has no partner"
        raise UserError(what, "a line of one must be the translation of that line of the other")


def _missing(folder: Path, files: list[str], table: str, instead: str) -> UserError:
    sought = " and ".join(f"no {file} or {file}.gz" for file in files)
    try:
        there = short_list((child.name for child in folder.iterdir()), limit=12)
    except OSError as error:
        return UserError(f"cannot list {folder}: {error.strerror}", "see to its permissions")
    hint = "--data.train and --data.val name the files without their endings; "
    hint += f"there is {there}" if there else "it is empty"
    return UserError(f"{sought}, nor {table}, in {folder}", instead or hint)
