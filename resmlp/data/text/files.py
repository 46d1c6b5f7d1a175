"""Pairs of sentences, and the lines of a file of text: UTF-8, perhaps gzipped."""

import gzip
import math
import zlib
from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from resmlp.data.text.encodings import command, wide_encoding
from resmlp.utils.checks import demand
from resmlp.utils.errors import UserError

MAX_LINE = 2**21
"""bytes of a line: the tokenizer needs 50 times as much memory for it"""
CR_HINT = "does CR alone end its lines? tr '\\r' '\\n' makes them LF"
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
    numbers: tuple[int, ...] = ()
    """the number of each line of all files in its file, from 1, where this is not 1, 2, ..."""

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
        start = 0
        for name, lines in self.files:
            if index - start < lines:
                return f"{name}, line {self.numbers[index] if self.numbers else index - start + 1}"
            start += lines
        raise IndexError(index)

    def without_empty(self) -> "Pairs":
        """The pairs with text on both sides. Must not be called twice."""
        empty = {i for i, pair in enumerate(zip(self.sources, self.targets)) if not all(map(str.strip, pair))}
        sources, targets = ([line for i, line in enumerate(s) if i not in empty] for s in (self.sources, self.targets))
        return Pairs(sources, targets, self.files, tuple(sorted(empty)), self.numbers)


def make_pairs(sources: list[str], targets: list[str], name: str) -> Pairs:
    """The pairs of one file, or of two parallel files, with the given `name` in messages."""
    return Pairs(sources, targets, ((name, len(sources)),))


def concatenate(parts: Iterable[Pairs]) -> Pairs:
    """The pairs of all parts in order; the parts must still have their empty lines."""
    parts = list(parts)
    counted = any(part.numbers for part in parts)
    return Pairs(
        [line for part in parts for line in part.sources],
        [line for part in parts for line in part.targets],
        tuple(file for part in parts for file in part.files),
        numbers=tuple(n for part in parts for n in part.numbers or range(1, len(part) + 1)) if counted else (),
    )


def read_lines(path: Path) -> list[str]:
    """The lines of a text file, as `raw_lines` gives them.

    Raises `UserError` for a file that cannot be read, is damaged, is not UTF-8, or has a NUL byte, a line of more than
    `MAX_LINE` bytes, or no other line end than CR.
    """
    lines: list[str] = []
    for raw in raw_lines(path):
        if not lines and (encoding := wide_encoding(raw)):
            raise UserError(f"{path}, line 1, is not UTF-8 but {encoding}", f"convert it with {command(encoding)}")
        try:
            lines.append(raw.decode())
        except UnicodeDecodeError as error:
            byte = f"byte {error.start + 1} is 0x{raw[error.start]:02X}"
            hint = "save it as UTF-8; the name of a gzipped file must end in .gz"
            raise UserError(f"{path}, line {len(lines) + 1}, is not UTF-8: {byte}", hint) from None
        if b"\0" in raw:
            what = f"{path}, line {len(lines)}, has a NUL byte"
            raise UserError(what, "is it text? UTF-16 must be saved as UTF-8")
    demand(not has_only_cr(lines), f"{path}: its line ends are CR alone", CR_HINT)
    return lines


def has_only_cr(lines: Sequence[str]) -> bool:
    """Whether the lines of a file are one, which CR divides, as programs of old Macs write text."""
    return len(lines) == 1 and "\r" in lines[0]


def raw_lines(path: Path) -> Iterator[bytes]:
    r"""The lines of a text file without their ends and without a byte order mark; a name in .gz is a gzipped file.

    Only "\n" ends a line, and a "\r" before it is removed; no-break spaces, U+0085 and U+2028 are ordinary characters.
    Raises `UserError` for a file that cannot be read, is damaged, or has a line of more than `MAX_LINE` bytes.
    """
    count = 0
    zipped = path.name.endswith(".gz")
    try:
        with (gzip.open if zipped else open)(path, "rb") as file:
            room = FREE + MAX_RATIO * path.stat().st_size if zipped else math.inf
            while line := file.readline(MAX_LINE + 1):  # a binary file is split only at b"\n"
                room -= len(line)
                if len(line) > MAX_LINE:
                    hint = CR_HINT if b"\r" in line[:-1] else "is it text, a sentence a line?"
                    raise UserError(f"{path}, line {count + 1}, has more than {MAX_LINE:,} bytes", hint)
                if room < 0:
                    what = f"{path} is too large when unpacked, from line {count + 1} on"
                    raise UserError(what, "if it is text, unpack it")
                text = line.removesuffix(b"\n").removesuffix(b"\r")
                yield text if count else text.removeprefix(BOM_UTF8)
                count += 1
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"{path} is damaged after {count} lines: {error}", "download or compress it again") from None
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}", "check its permissions") from None
