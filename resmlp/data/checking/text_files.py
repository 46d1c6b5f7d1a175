"""The files of parallel text that a check reads: which there are, and their lines with what is wrong in them."""

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from resmlp.data.checking.findings import Findings
from resmlp.data.images.split_names import split_role
from resmlp.data.text.encodings import command, wide_encoding
from resmlp.data.text.files import has_only_cr, raw_lines
from resmlp.data.text.header import guess_header, is_header, named_columns
from resmlp.data.text.languages import language_of
from resmlp.data.text.parquet import is_parquet, other_columns, read_columns, text_columns
from resmlp.imaging.archives import ARCHIVES
from resmlp.imaging.file_types import is_image
from resmlp.utils.checks import demand
from resmlp.utils.errors import UserError, printable

TABLES = (".tsv", ".parquet")
FOLDER_TABLES = re.compile(r"(.+?)\.(?:tsv|tsv\.gz|parquet)")
LANGUAGE_FILE = re.compile(r"(.+)\.([A-Za-z]{2,3}(?:[-_][A-Za-z]{2,4})?|source|target)")
NOT_LANGUAGES = {
    *("txt", "md", "rst", "csv", "tsv", "log", "xml", "htm", "sgm", "tex", "pdf", "doc", "py", "sh", "yml", "ini"),
    *("zip", "tar", "tgz", "bz", "xz", "zst", "npy", "npz", "jpg", "png", "gif", "bmp", "tif", "cfg", "db"),
}
"""endings of other files, in lower case"""


@dataclass(frozen=True)
class Part:
    """The pairs of one pair of files, or of one split of a table."""

    name: str
    files: str
    """the name of the files, for the location of a pair"""
    languages: tuple[str, str]
    """their codes, or source and target"""
    sources: list[str]
    targets: list[str]
    numbers: Sequence[int]
    """the line of each pair"""

    def where(self, i: int) -> str:
        """The location of pair `i`."""
        return f"{self.files}, line {self.numbers[i]}"


def is_text(path: Path) -> bool:
    """Whether a path is parallel text: a table, or a folder of text files without images and archives below."""
    if path.is_file():
        if is_parquet(path):
            return not other_columns(path) and len(text_columns(path)) > 1
        return path.name.lower().removesuffix(".gz").endswith((".tsv", ".txt")) or bool(_lone(_by_stem([path.name])))
    if not path.is_dir():
        return False
    names = _names(path)
    tables = [path / name for name in names if FOLDER_TABLES.fullmatch(name)]
    stems = _by_stem(names)
    texts = any(len(endings) > 1 for endings in stems.values()) or (not tables and bool(_lone(stems)))
    return (texts or any(map(is_text, tables))) and not _has_images(path)


def read_parts(path: Path, found: Findings) -> Iterator[Part]:
    """The parts below a path, with what is wrong in their lines in `found`. Raises `UserError` for a damaged table."""
    if path.is_file():
        one_side = f"{path} is one side of parallel text"
        demand(not _lone(_by_stem([path.name])), one_side, "give the folder in which the other language lies beside it")
        yield from _read_table(path, "", found)
        return
    names = _names(path)
    stems = _by_stem(names)
    counts = Counter(ending for endings in stems.values() if len(endings) > 1 for ending in endings)
    pivot = min(
        counts,
        key=lambda ending: (language_of(ending) != "en", ending != "source", -counts[ending], ending),
        default="",
    )
    for stem, endings in stems.items():
        first = pivot if pivot in endings else min(endings)
        for other in sorted(endings - {first}):
            yield from _read_files(path, stem, (first, other), found)
        if len(endings) == 1 and first in counts:
            found.add("unpaired", printable(f"{stem}.{first}"))
    if not counts:
        for name in _lone(stems):
            found.add("one-side", printable(name))
    for name in names:
        if match := FOLDER_TABLES.fullmatch(name):
            yield from _read_table(path / name, match[1], found)


def _names(folder: Path) -> list[str]:
    try:
        return sorted(child.name for child in folder.iterdir() if child.is_file() and not child.name.startswith("."))
    except OSError as error:
        raise UserError(f"cannot list {folder}: {error.strerror}", "check its permissions") from None


def _by_stem(names: Sequence[str]) -> dict[str, set[str]]:
    """The endings that may be languages, by the rest of the file's name."""
    stems: dict[str, set[str]] = {}
    for name in names:
        match = LANGUAGE_FILE.fullmatch(name.removesuffix(".gz"))
        if match and match[2].lower() not in NOT_LANGUAGES:
            stems.setdefault(match[1], set()).add(match[2])
    return stems


def _has_images(root: Path) -> bool:
    """Whether an image or an archive is below a folder, by the names of the files."""
    for _, folders, files in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        if any(is_image(name) or name.lower().endswith(ARCHIVES) for name in files):
            return True
    return False


def _lone(stems: Mapping[str, set[str]]) -> list[str]:
    """The names, without .gz, of files of a known language that have no other language beside them."""
    return [f"{stem}.{min(own)}" for stem, own in stems.items() if len(own) == 1 and language_of(min(own))]


def _read_files(folder: Path, stem: str, languages: tuple[str, str], found: Findings) -> Iterator[Part]:
    names = [_file_name(folder, f"{stem}.{language}") for language in languages]
    sides = [_read_lines(folder / name, printable(name), found) for name in names]
    shown = " and ".join(map(printable, names))
    sources, targets = sides
    if sources is None or targets is None:
        return
    if len(sources) != len(targets):
        found.add("line-counts", shown, f"{len(sources):,} and {len(targets):,} lines")
    if sources and targets and is_header(sources[0]) and is_header(targets[0]):
        found.add("header-row", f"{shown}, line 1", f"{sources[0]} / {targets[0]}")
    pairs = min(len(sources), len(targets))
    yield Part(stem, shown, languages, sources[:pairs], targets[:pairs], range(1, pairs + 1))


def _file_name(folder: Path, name: str) -> str:
    return name if (folder / name).is_file() else f"{name}.gz"


def _read_table(path: Path, name: str, found: Findings) -> Iterator[Part]:
    """The parts of a table: one for each value of its column split, or one named `name`."""
    if is_parquet(path):
        columns = text_columns(path)
        languages, known = guess_header([*columns])
        chosen = known or named_columns([*columns], languages, {}, str(path))
        rows = list(zip(*read_columns(path, [[*columns.values()][i] for i in chosen if i is not None])))
        named = [row[2] for row in rows] if chosen.split is not None else None
        splits = _usual(named, printable(path.name), found)
        yield from _split(path, name, languages, rows, splits, range(1, len(rows) + 1))
        return
    lines = _read_lines(path, printable(path.name), found)
    if not lines:
        return
    table = [line.split("\t") for line in lines]
    languages, header = guess_header(table[0])
    if header:
        found.add("table-header", printable(path.name), ", ".join(table[0]))
    elif is_header(lines[0]):
        found.add("header-row", f"{printable(path.name)}, line 1", lines[0])
    width, first = (len(table[0]), 1) if header else (2, 0)
    numbers = [i + 1 for i in range(first, len(table)) if len(table[i]) == width]
    for i in range(first, len(table)):
        if len(table[i]) != width:
            found.add("columns", f"{printable(path.name)}, line {i + 1}", f"{len(table[i])}, not {width}")
    rows = [tuple(table[n - 1][i] for i in (header or (0, 1)) if i is not None) for n in numbers]
    splits = [row[2] for row in rows] if header and header.split is not None else None
    yield from _split(path, name, languages, rows, _usual(splits, printable(path.name), found), numbers)


def _usual(splits: Sequence[str] | None, name: str, found: Findings) -> Sequence[str] | None:
    """The splits as given, after those with a name that training does not know are in `found`."""
    for value in dict.fromkeys(splits or ()):
        if split_role(value) is None:
            found.add("unknown-split", f"{name}: {value!r}")
    return splits


def _split(
    path: Path,
    name: str,
    languages: tuple[str, str],
    rows: Sequence[tuple[str, ...]],
    splits: Sequence[str] | None,
    numbers: Sequence[int],
) -> Iterator[Part]:
    for value in dict.fromkeys(splits or [name or path.stem]):
        own = [i for i in range(len(rows)) if splits is None or splits[i] == value]
        sources, targets = ([rows[i][side] for i in own] for side in (0, 1))
        yield Part(value, printable(path.name), languages, sources, targets, [numbers[i] for i in own])


def _read_lines(path: Path, name: str, found: Findings) -> list[str] | None:
    """The lines of a file, with a mark in place of what is not UTF-8; None if the rest of the file cannot be read."""
    lines: list[str] = []
    try:
        for raw in raw_lines(path):
            if not lines and (encoding := wide_encoding(raw)):
                found.add("utf-16", name, command(encoding))
                return None
            where = f"{name}, line {len(lines) + 1}"
            try:
                lines.append(raw.decode())
            except UnicodeDecodeError as error:
                found.add("encoding", where, f"byte {error.start + 1} is 0x{raw[error.start]:02X}")
                lines.append(raw.decode(errors="replace"))
            if b"\0" in raw:
                found.add("nul", where, f"byte {raw.index(0) + 1}")
    except UserError as error:
        found.add("unreadable-text", name, error.what.removeprefix(str(path)).strip(" ,"))
        return None
    if has_only_cr(lines):
        found.add("cr-line-ends", name)
        return lines[0].split("\r")
    for i, line in enumerate(lines):
        if "\r" in line:
            found.add("carriage-return", f"{name}, line {i + 1}")
    return lines
