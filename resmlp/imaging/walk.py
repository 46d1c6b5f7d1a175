"""List the files below a folder: images, other files, and what is passed over. Opens only files without a known name.

Loads no image library.
"""

import os
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple
from unicodedata import normalize

from resmlp.imaging.file_types import HEAD, is_image
from resmlp.imaging.passed_over import OWN_FOLDERS, SkipKind, Skipped, is_passed_over, is_run
from resmlp.utils.errors import UserError, printable

OnSkip = Callable[[Skipped], None]


@dataclass
class Files:
    """The files below a folder, by their path in it; '/' separates the parts of a path."""

    images: list[tuple[str, str]] = field(default_factory=list)
    """(path in the folder, path on the disk) of each image"""
    others: list[str] = field(default_factory=list)
    """paths of the files that are not images, and of empty folders (these end in '/')"""

    def add(self, path: str, name: str) -> None:
        """Add the image at `path` in the folder, `name` on the disk."""
        self.images.append((path, name))

    def depends_on(self, name: str, is_folder: bool) -> None:
        """Called before `name` on the disk is read: the list is another one if this folder or file changes."""


class _Entry(NamedTuple):
    """A folder or a file that is not looked at yet."""

    path: str
    """in the data set"""
    name: str
    """on the disk"""
    file: "os.DirEntry[str] | None" = None
    """None for a folder"""


def path_in_set(path: str) -> str:
    """A path as it identifies an image: printable, and in one Unicode form, because disks differ in theirs (NFC)."""
    return printable(normalize("NFC", path))


def walk(root: Path, on_skip: OnSkip, files: Files | None = None) -> Files:
    """The files below `root`, images in the order of their paths, in `files` or a new list.

    Calls `on_skip` for what is passed over. These are hidden files and folders, links to a folder that contains them,
    folders that are not data (`is_passed_over`), pipes, sockets and devices, and with an error the folders that cannot
    be listed.
    """
    files, waiting = Files() if files is None else files, [_Entry("", str(root))]
    while waiting:
        entry = waiting.pop()
        if entry.file is None:
            waiting += reversed(_list_folder(entry.path, entry.name, files, on_skip))
        else:
            _add_file(files, entry.file, entry.path, on_skip)
    return files


def _list_folder(path: str, folder: str, files: Files, on_skip: OnSkip) -> list[_Entry]:
    """What is in a folder, in the order in which the paths of all files below it are sorted."""
    try:
        files.depends_on(folder, is_folder=True)
        with os.scandir(folder) as listed:
            entries = sorted(listed, key=lambda entry: entry.name)
        folders = {entry.name for entry in entries if _is_folder(entry)}
    except OSError as error:
        on_skip(Skipped("cannot-list", f"{path}/", cannot_list(error)))
        return []
    names = [name + "/" if name in folders else name for name in (entry.name for entry in entries)]
    if path and is_passed_over(path, names):
        on_skip(Skipped("passed-over", f"{path}/"))
        return []
    if path and not entries:
        files.others.append(f"{path}/")
    own = OWN_FOLDERS if not path and is_run(names) else ()
    inside = []
    for entry in entries:
        inner = f"{path}/{path_in_set(entry.name)}" if path else path_in_set(entry.name)
        if entry.name not in folders:
            inside.append((inner, _Entry(inner, entry.path, entry)))
        elif kind := _skipped_folder(entry, own):
            on_skip(Skipped(kind, f"{inner}/"))
        else:
            inside.append((f"{inner}/", _Entry(inner, entry.path)))
    return [entry for _, entry in sorted(inside, key=lambda item: item[0])]


def cannot_list(error: OSError) -> UserError:
    """The error for a folder that the system does not list."""
    return UserError(f"cannot list {error.filename}: {error.strerror}", "check its permissions")


def read_head(path: str) -> bytes:
    """The first bytes of a file, for `is_image`; empty if it cannot be read."""
    try:
        with Path(path).open("rb") as file:
            return file.read(HEAD)
    except OSError:
        return b""


def is_image_file(path: str) -> bool:
    """Whether the file is an image; opens it only if its name does not tell."""
    by_name = is_image(path)
    return bool(is_image(path, read_head(path)) if by_name is None else by_name)


def is_special(path: str | os.PathLike[str]) -> bool:
    """Whether a path leads to a pipe, a socket or a device, which must not be opened."""
    target = Path(path)
    try:
        return target.exists() and not target.is_file() and not target.is_dir()
    except OSError:
        return False


def _add_file(files: Files, entry: "os.DirEntry[str]", path: str, on_skip: OnSkip) -> None:
    if entry.name.startswith("."):
        on_skip(Skipped("hidden", path))
    elif not _is_file(entry) and is_special(entry.path):
        on_skip(Skipped("special-file", path))
    else:
        if is_image(entry.path) is None:
            files.depends_on(entry.path, is_folder=False)
        if is_image_file(entry.path):
            files.add(path, entry.path)
        else:
            files.others.append(path)


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _is_file(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_file()
    except OSError:
        return False


def _skipped_folder(entry: "os.DirEntry[str]", own: Collection[str]) -> SkipKind | None:
    """Why a folder is passed over without a look into it."""
    if entry.name.startswith("."):
        return "hidden"
    if entry.name in own:
        return "passed-over"
    if entry.is_symlink():
        parent = Path(entry.path).parent.resolve()
        if parent.is_relative_to(Path(entry.path).resolve()):
            return "link-loop"
    return None
